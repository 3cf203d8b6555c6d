"""The course edition: made, checked and graded (`python -m course`, `make course`)"""
