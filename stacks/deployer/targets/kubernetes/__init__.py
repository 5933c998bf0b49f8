"""Endpoints as Deployments of a Kubernetes cluster."""

from stacks.deployer.targets.kubernetes.rollout import Kubernetes

__all__ = ["Kubernetes"]
