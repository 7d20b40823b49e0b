"""The commands of this project: what each needs is installed, then it runs.

All but `measure` works on a bare Python with the standard library alone, since it runs
before anything is installed. What `gpt2` needs of it works on Python 3.9, the rest on 3.11.
"""
