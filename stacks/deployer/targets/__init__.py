"""Where endpoints run: on this machine, in a Kubernetes cluster, in BentoCloud, or in somebody else's care.

All of them serve the same release files out of the artifact store; a target only sees to it that somebody reads them.
"""
