"""Policy files: loading them, explaining them, and matching descriptors against them."""
