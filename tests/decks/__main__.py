"""Prints the page that `studies/WORKED.md` holds."""

from tests.decks import page

if __name__ == "__main__":
    print(page(), end="")
