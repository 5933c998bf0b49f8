"""The ``bentoml_vllm`` model deployer: it keeps one serving process per endpoint alive, and nothing else.

Deploying a version is writing a release file; this flavor only sees to it that somebody reads it.
"""
