"""What a user meets first: the command line, what it prints, and the doctor.

May import `execution` and what lies before it.
"""
