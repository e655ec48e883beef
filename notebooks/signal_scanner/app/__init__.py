"""Signal Scanner: which communities talk about a product?"""
