"""The facilitator's guide: what of it follows from the manifest and from the wrong answers is
generated.
"""
