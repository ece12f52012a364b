"""The steps of ``push-job check``, one module per server."""
