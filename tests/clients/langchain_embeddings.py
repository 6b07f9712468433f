"""LangChain's embeddings as its users make them: documents and a query; run by its own Python.

Arguments: base URL, API key, model, then the documents. Prints the vectors' lengths and whether the first document is found again.
"""

import json
import sys

from langchain_openai import OpenAIEmbeddings  # type: ignore[import-not-found]  # installed apart, by make test-clients


def main() -> None:
    """Makes both calls."""
    base_url, api_key, model, *documents = sys.argv[1:]
    # Else it loads a tokenizer from the internet, to send tokens in place of texts.
    embeddings = OpenAIEmbeddings(base_url=base_url, api_key=api_key, model=model, check_embedding_ctx_length=False)
    vectors = embeddings.embed_documents(documents)
    query = embeddings.embed_query(documents[0])
    nearest = max(range(len(vectors)), key=lambda each: sum(a * b for a, b in zip(vectors[each], query, strict=True)))
    print(json.dumps({"lengths": [len(each) for each in vectors], "nearest": nearest}))


if __name__ == "__main__":
    main()
