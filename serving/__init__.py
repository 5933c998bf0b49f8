"""The endpoint: a Bento whose gateway stands before one supervised vLLM engine and follows its folder's releases."""
