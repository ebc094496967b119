"""Withdrawn papers are detected by their comment."""

from time import monotonic

import pytest

from service.metadata.withdrawal import is_withdrawn

WITHDRAWN = """
Withdrawn
withdrawn.
WITHDRAWN
Paper withdrawn
Withdrawn by the author
This paper has been withdrawn
This paper has been withdrawn by the author(s)
This paper has been withdrawn by the author due to an error in Lemma 2
This paper has been withdrawn by the author due to a crucial sign error in equation (1.3)
This paper has been withdrawn because Theorem 3.1 of the previous version is wrong
This submission has been withdrawn by arXiv administrators due to inappropriate text overlap
arXiv admin note: withdrawn by arXiv administrators because of a false claim of authorship
12 pages, 3 figures; withdrawn because of an error in section 3
An error in Lemma 4 invalidates the main result; withdrawn
The paper is being withdrawn: the second proof does not hold
The authors have withdrawn this paper since its results were known
I am withdrawing this paper, please see arXiv:1009.0001 instead
We withdraw our paper: the data of Fig. 3 cannot be reproduced
The author withdraws this article
Superseded by arXiv:1105.0382 and therefore withdrawn
Superseded by arXiv:1105.0382, withdrawn
This paper has been superseded by arXiv:1105.0382 and has been withdrawn by the authors
Paper withdrawn: merged with hep-th/0309136
Withdrawn, see math.GT/0309136 for a better proof
Withdrawn. The new version replaces it
This paper has been withdrawn. It replaces an earlier note
The earlier version contained an error, so this paper is withdrawn
The first version had a gap; this paper has been withdrawn
Temporarily withdrawn for revision
This paper has been withdrawn from the arXiv
Retracted
This article has been retracted by the authors
Retraction: the simulations had a bug
Withdrawal due to a mistake in the main theorem
Withdrawal notice; see the comment in the source
This paper has been\twithdrawn\nby the author
"""
NOT_WITHDRAWN = """
12 pages, 3 figures
Replaces the withdrawn arXiv:0901.1234
This paper replaces arXiv:0901.1234, which was withdrawn
This replaces arXiv:0901.1234v2 (withdrawn)
Supersedes math.GT/0309136, now withdrawn
Supersedes hep-th/9901001 which has been withdrawn
Corrected version of the withdrawn paper cs/0309136
This is a replacement for a paper that has been withdrawn
v1 withdrawn
v1 was withdrawn; this is a corrected version
Version 2 has been withdrawn, this is version 3
The previous version has been withdrawn
An earlier version of this paper was withdrawn due to an error; it is corrected here
Original version withdrawn because of a mistake in Lemma 2.3; new proof
Section 5 has been withdrawn
Theorem 3 is withdrawn; the rest stands
Theorem 3.2 is withdrawn; the rest stands
Conjecture 4 withdrawn, references added
The claim of Section 2 is withdrawn, all other results are unchanged
Part of the results of Section 4 are withdrawn
Comment on a paper that was later retracted
Comment on arXiv:0901.1234, which has since been withdrawn
Reply to a retracted article of Smith et al
arXiv:0901.1234 has been withdrawn in favour of this paper
An analysis of retracted papers in PubMed, the list of withdrawn articles is attached
This paper has not been withdrawn, whatever the listing says
Uses a strong deformation retraction; 20 pages
A retraction onto the boundary is added in Section 3
Talk at a workshop on alcohol withdrawal
Poster on cash withdrawals, 2 pages
Not to be withdrawn
"""


def cases(text: str) -> list[str]:
    return text.strip().split("\n")


@pytest.mark.parametrize(
    "comment", cases(WITHDRAWN.replace("\nby the author\n", " by the author\n"))
)
def test_withdrawn_paper_is_detected_by_comment(comment: str) -> None:
    assert is_withdrawn(comment)


@pytest.mark.parametrize("comment", [*cases(NOT_WITHDRAWN), "", None])
def test_comment_about_other_paper_or_part_is_ignored(comment: str | None) -> None:
    assert not is_withdrawn(comment)


@pytest.mark.parametrize("word", ["replaces ", "arxiv:", "section 1 ", "this is ", "version "])
def test_long_comment_is_checked_quickly(word: str) -> None:
    started = monotonic()
    assert not is_withdrawn(word * (100_000 // len(word)))
    assert monotonic() - started < 2
