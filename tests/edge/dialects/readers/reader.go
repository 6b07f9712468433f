// Reads bodies as a vendor in Go does that speaks the dialect of its argument, and writes what it has read.
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

type chatCompletion struct {
	Model               string    `json:"model"`
	N                   int64     `json:"n"`
	MaxTokens           int64     `json:"max_tokens"`
	MaxCompletionTokens int64     `json:"max_completion_tokens"`
	Stream              bool      `json:"stream"`
	StreamOptions       options   `json:"stream_options"`
	Messages            []message `json:"messages"`
}

// A request of completions or of embeddings.
type prompted struct {
	Model               string  `json:"model"`
	N                   int64   `json:"n"`
	BestOf              int64   `json:"best_of"`
	MaxTokens           int64   `json:"max_tokens"`
	MaxCompletionTokens int64   `json:"max_completion_tokens"`
	Dimensions          int64   `json:"dimensions"`
	Echo                bool    `json:"echo"`
	Stream              bool    `json:"stream"`
	StreamOptions       options `json:"stream_options"`
	Suffix              string  `json:"suffix"`
	Prompt              any     `json:"prompt"`
	Input               any     `json:"input"`
}

// A text, or a list of blocks.
type blocks []block

type block struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Content blocks `json:"content"`
}

func (read *blocks) UnmarshalJSON(body []byte) error {
	var text string
	if json.Unmarshal(body, &text) == nil {
		*read = blocks{{Type: "text", Text: text}}
		return nil
	}
	var list []block
	err := json.Unmarshal(body, &list)
	*read = list
	return err
}

type turn struct {
	Role    string `json:"role"`
	Content blocks `json:"content"`
}

type thinking struct {
	Type         string `json:"type"`
	BudgetTokens int64  `json:"budget_tokens"`
}

type messages struct {
	Model     string   `json:"model"`
	MaxTokens int64    `json:"max_tokens"`
	Stream    bool     `json:"stream"`
	Thinking  thinking `json:"thinking"`
	System    blocks   `json:"system"`
	Messages  []turn   `json:"messages"`
}

// A text, or a list of items or parts.
type items []item

type item struct {
	Type    string `json:"type"`
	Role    string `json:"role"`
	Text    string `json:"text"`
	Content items  `json:"content"`
	Output  items  `json:"output"`
}

func (read *items) UnmarshalJSON(body []byte) error {
	var text string
	if json.Unmarshal(body, &text) == nil {
		*read = items{{Type: "text", Text: text}}
		return nil
	}
	var list []item
	err := json.Unmarshal(body, &list)
	*read = list
	return err
}

type response struct {
	Model              string `json:"model"`
	MaxOutputTokens    int64  `json:"max_output_tokens"`
	Stream             bool   `json:"stream"`
	Store              bool   `json:"store"`
	Background         bool   `json:"background"`
	PreviousResponseID string `json:"previous_response_id"`
	Instructions       string `json:"instructions"`
	Input              items  `json:"input"`
}

func main() {
	var bodies []string
	if err := json.NewDecoder(os.Stdin).Decode(&bodies); err != nil {
		panic(err)
	}
	read := make([]any, len(bodies))
	for index, body := range bodies {
		var each any = new(chatCompletion)
		switch os.Args[1] {
		case "anthropic_messages":
			each = new(messages)
		case "openai_completions", "openai_embeddings":
			each = new(prompted)
		}
		if os.Args[1] == "openai_responses" {
			each = new(response)
		}
		if err := json.Unmarshal([]byte(body), each); err == nil {
			read[index] = each
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(read); err != nil {
		panic(err)
	}
}
