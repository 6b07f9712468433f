// Reads bodies of chat completions as a vendor in Go does, and writes what it has read.
package main

import (
	"encoding/json"
	"os"
)

type message struct {
	Role    string `json:"role"`
	Content any    `json:"content"`
}

type options struct {
	IncludeUsage bool `json:"include_usage"`
}

type request struct {
	Model               string    `json:"model"`
	N                   int64     `json:"n"`
	MaxTokens           int64     `json:"max_tokens"`
	MaxCompletionTokens int64     `json:"max_completion_tokens"`
	Stream              bool      `json:"stream"`
	StreamOptions       options   `json:"stream_options"`
	Messages            []message `json:"messages"`
}

func main() {
	var bodies []string
	if err := json.NewDecoder(os.Stdin).Decode(&bodies); err != nil {
		panic(err)
	}
	read := make([]any, len(bodies))
	for index, body := range bodies {
		var each request
		if err := json.Unmarshal([]byte(body), &each); err == nil {
			read[index] = each
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(read); err != nil {
		panic(err)
	}
}
