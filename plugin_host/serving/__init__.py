"""What serves: plugins, their breakers and policies, the registry, dispatch."""
