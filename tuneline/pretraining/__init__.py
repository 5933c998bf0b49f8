"""The tiny base model: a Llama of three million parameters made from nothing, so that the whole path runs anywhere."""
