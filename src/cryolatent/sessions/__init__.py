"""Runs begun, continued, restored and asked: options, parts, methods and directories together."""
