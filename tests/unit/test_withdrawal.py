"""Withdrawn papers are detected by their comment."""

import json
import re
from html import unescape

import pytest

from service.metadata.withdrawal import is_withdrawn
from tests.support.captures import TEST_DATA
from tests.support.measure import assert_cpu_below, assert_linear

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

INVENTED_WITHDRAWN = """
This has been withdrawn
This letter has been withdrawn
This thesis has been withdrawn by the author
This comment has been withdrawn
This paper's been withdrawn
Author withdrew paper
Authors have withdrawn paper
The bound is false, so paper is withdrawn
There is an error, and we withdraw it
Removed at the author's request
Withdrawn upon request of the authors
Withdrawn per author request
withdrawn May 2015
This paper is now part of arXiv:2101.00001 and is therefore withdrawn
This is a withdrawn paper
Withdrawn article
Duplicate submission, withdrawn
[withdrawn]
*** withdrawn ***
Article removed by the author
Please withdraw this submission
Submitted by mistake and has now been withdrawn
Published without the consent of the coauthor, and it is withdrawn due to his objection
This version has been removed by arXiv administrators since the submitter had no right to it
arXiv admin note: This version has been removed by arXiv administrators due to incorrect affiliation
arXiv admin comment: This version has been removed by arXiv administrators due to missing rights
arXiv admin note: This paper has been withdrawn by arXiv due to unverifiable authorship
arXiv admin note: this submissions has been withdrawn by arXiv administrators: false author list
arXiv admin note: submission withdrawn by arXiv admins due to excessive text overlap
arXiv admin note: removed by arXiv administrators for copyright infringement
14 pages. arXiv admin note: This article was withdrawn by arXiv admin because of a pseudonym
The authors withdrew this preprint
The authors withdrew their manuscript until the calibration is repeated
The author withdrew the paper because of a gap in the induction
We have decided to withdraw this manuscript
We have decided to withdraw the paper, since the sample was contaminated
I would like to withdraw this article: the bound in (12) is wrong
We wish to withdraw our submission
I retract this paper
We hereby retract this work
The authors are retracting this preprint because of an error in the code
Withdrew this submission, a corrected one follows
Withdrew, needs major revision
The author has asked that this submission be withdrawn
The authors request that the paper be removed from arXiv
The authors have requested the withdrawal of this article
I request withdrawal of this submission
We seek the withdrawal of our paper, as it may mislead
Withdrawal requested by the author
Withdrawal of this paper is due to a bug in the simulation
Withdrawal: Lemma 3.2 is false
Withdrawal because of a conflict of interest
Retraction due to an error in the normalization of the data
Removed by the authors
Removed at the request of the authors
Removed because of a copyright claim of the publisher
Removed due to a patent application
This preprint was removed by its author
This submission is removed due to a licence conflict
Withdrawn for substantial revision
Withdrawn pending further tests
Withdrawn as incorrect
Withdrawn until the proof is complete
Withdrawn at the request of a coauthor
Withdrawn (error in the proof)
Withdrawn -- see 1203.4567 for the corrected result
Withdrawn 3 May 2004
Currently withdrawn
Paper temporarily withdrawn
Paper is withdrawn by authors because Fig. 2 is incorrect
The manuscript is withdrawn pending additional experiments
The present paper has been withdrawn
The current version is being withdrawn to avoid confusion
This short note has been retracted by its author
This version (v3) has been withdrawn
This paper, which had 12 pages, has been withdrawn
This e-print has been withdrawn, a new version will follow
This work was withdrawn by the authors on 2 June 2011
This draft is hereby withdrawn
This manuscript needs to be withdrawn, some claims are not verified
This article must be withdrawn because of wrong data
9 pages, 2 figures, paper withdrawn
9 pages, 2 figures, withdrawn by the authors
9 pages; this paper is withdrawn
9 pages (withdrawn)
LaTeX, 9 pages -- withdrawn due to a sign error
The proof of Lemma 4 has a gap, withdrawn
There is an error in Theorem 3; therefore withdrawn
There is a serious error in Section 2 and therefore this paper is withdrawn
The results are contained in cond-mat/0301001, so the paper has been withdrawn
Merged into arXiv:1501.00001 and withdrawn
The main claim is wrong. The paper is withdrawn
Accepted by J. Example, but this paper has been withdrawn by the author because of an error
This paper has been withdrawn from arXiv
This paper was withdrawn from the archive by the author
This paper has been withdrawn by the author after an error was found in Lemma 2
This paper has been withdrawn by the author, as Theorem 2 of arXiv:0901.1234 is stronger
We must withdraw this paper, because Prop. 4.1 is not correct
This paper has been withdraw by the authors
"""
INVENTED_NOT_WITHDRAWN = """
This paper was withdrawn from publication in J. Example
If this paper is withdrawn, cite v1
The paper was withdrawn in v2 and restored in v3
This paper had been withdrawn, the error is now fixed
Temporarily withdrawn, now restored
ICLR 2020, withdrawn
NeurIPS 2020 submission (withdrawn)
To appear in Proc. (withdrawn)
Withdrawn from the Physical Review
ICLR 2024 (withdrawn)
Under review at ICLR 2024, withdrawn
Equation (4) was wrong and has been withdrawn
This version removed Section 5
This version has removed several typos
Troops were withdrawn by the government
8 pages, withdrawn from NeurIPS 2023
15 pages. Withdrawn from ACL Rolling Review
Withdrawn from the Journal of Examples, submitted elsewhere
Withdrawn from AAAI-22 by the authors
Withdrawn from consideration at ICML
Paper withdrawn from CVPR 2021 after the rebuttal
This paper was withdrawn from EMNLP 2020 before the reviews
The paper has been withdrawn from the conference proceedings
Submission withdrawn from the special issue
We withdrew the paper from ICLR 2023
The authors withdrew this manuscript from Nature Example to add data
We withdrew our submission to KDD 2019
Submitted to ICML 2022 but withdrawn
Accepted at a workshop of NeurIPS, later withdrawn
Submitted to PRL, then withdrawn
Accepted at IJCAI; withdrawn from the proceedings for lack of travel funds
It could be withdrawn if a journal accepts it
This article was retracted by the journal, the arXiv version is corrected
A study of 500 retracted publications in biology
Retracted articles keep being cited: 10 pages, 4 figures
Papers withdrawn from journals: a survey
Retractions in physics, 12 pages
Withdrawn drugs in Europe, a network analysis
The withdrawn vaccine trial: statistics
A withdrawn claim about cold fusion
A method for retracted needles in surgery
Deposits withdrawn from savings accounts
Liquid withdrawn from a tank through a slot, 3 movies
A plate withdrawn from a bath; 12 pages
Data of patients withdrawn from the study are included
Opioid withdrawal in rats, 9 pages
Withdrawal of groundwater in California, 20 figures
Withdrawal symptoms of nicotine, 4 tables
Retraction of a simplicial complex, 10 pages
Retraction methods on manifolds, code available
Removed typos, 12 pages
Typos removed, references added
Removed Section 5, added an appendix
Section 5 removed; 12 pages
Reference 12 removed by request of the referee
Figures 3 and 4 have been removed to reduce the size
Removed because of a referee's remark: Lemma 3
v2: one author removed
Journal reference removed
The appendix was removed by the authors
Background removed by the method of Example et al.
The conjecture at the end of Section 6 has been withdrawn
Lemma 7 is withdrawn, the main theorem is unaffected
Claim 2 is wrong and has been withdrawn
The proof of Corollary 5 was incorrect and is withdrawn; 14 pages
The result of Section 3 was wrong and is withdrawn
We withdraw the claim of Section 3
We withdraw the conjecture made in the first version
The author withdraws Theorem 4
v1 was withdrawn, v2 corrects Lemma 2
v3: the claims of v2 are withdrawn
(v1 has been withdrawn.) Corrected version, 11 pages
The first version was withdrawn because of an error; this one is correct
A former version of this article has been withdrawn
An earlier submission by the same author was withdrawn
Supersedes the withdrawn manuscript arXiv:1504.00001
Expands on our withdrawn preprint of 2019
Merger of version 1 with the withdrawn paper arXiv:1407.0001
This is a corrected version of arXiv:1105.0001, which was recently withdrawn
Replaces arXiv:1203.0001, withdrawn by the authors
See also arXiv:1203.0001 (withdrawn)
The proof uses a result of arXiv:1203.0001, which has been withdrawn
Comment on arXiv:2203.00001, now withdrawn
Reply to a comment that has been withdrawn
Refutes a paper that was withdrawn in 2012
An erratum to a paper that has been retracted
This paper was never withdrawn
This paper has not been retracted
The authors do not withdraw this paper
This paper will not be withdrawn
If errors are found, this paper may be withdrawn
The licence of the code has been withdrawn
The grant was withdrawn, no funding to declare
The standard was withdrawn in 2015; 6 pages
Retraction note added to the published version
The retracted Nature paper is discussed in Section 2
What happens when a paper has been withdrawn? 8 pages
How often a submission is withdrawn: data of 10 conferences
"""


def cases(text: str) -> list[str]:
    return text.strip().split("\n")


@pytest.mark.parametrize("comment", [*cases(WITHDRAWN), *cases(INVENTED_WITHDRAWN)])
def test_withdrawn_paper_is_detected_by_comment(comment: str) -> None:
    assert is_withdrawn(comment)


def test_line_breaks_in_a_comment_are_spaces() -> None:
    assert is_withdrawn("This paper has been\twithdrawn\nby the author")


@pytest.mark.parametrize(
    "comment", [*cases(NOT_WITHDRAWN), *cases(INVENTED_NOT_WITHDRAWN), "", None]
)
def test_comment_about_other_paper_part_or_venue_is_ignored(comment: str | None) -> None:
    assert not is_withdrawn(comment)


NOT_WITHDRAWN_IN_TEST_DATA = (
    "tensor removed", "typo removed", "entered by mistake", "replaces the withdrawn",
    "but withdrawn", "Comment on a paper", "Not to be", "PubMed", "from the journal",
    "Retraction note", "claim of Section 4", "proof of Theorem 2", "rofecoxib", "from ICLR",
    "from journal", "replaced by this paper",
)  # fmt: skip
"""Parts of the comments that have one of the words but do not state a withdrawal."""


def read_test_data() -> set[str]:
    """The comments of all feeds and records."""
    comments: set[str] = set()
    for path in TEST_DATA.rglob("*"):
        if path.suffix in {".xml", ".atom"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            found = re.findall(r"<(?:arxiv:)?comments?(?: [^>]*)?>([^<]*)<", text)
            comments.update(map(unescape, found))
        elif path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as lines:
                comments.update(json.loads(line).get("comments") or "" for line in lines)
    return comments


def test_withdrawn_papers_in_the_test_data_are_detected_and_no_others() -> None:
    comments = read_test_data()
    if not comments:
        pytest.skip(f"the test data is missing: {TEST_DATA}")
    labelled = {
        comment
        for comment in comments
        if re.search("withdr|retract|removed", comment, re.IGNORECASE)
        and not any(part in comment for part in NOT_WITHDRAWN_IN_TEST_DATA)
    }

    assert set(filter(is_withdrawn, comments)) == labelled
    assert labelled


HOSTILE = [
    "replaces ", "arxiv:", "section 1 ", "version ", "withdrawn ", ", it withdrawn x",
    "this paper (", "this paper, ", "this paper has been ", "and has been withdrawn v1 ",
    "if not, withdraw this paper of ", "request the withdrawal of ", "removed due to ", "a.", "(",
    "v1 but withdrawn,", "withdrawn by the author from ", "submitted to, withdrawn,", "withdr\n",
    "ICLR 2020 ", "if this paper ", "and restored withdrawn ",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_long_comment_is_checked_quickly(part: str) -> None:
    def check(length: int) -> None:
        is_withdrawn(part * (length // len(part)) + " withdrawn")

    assert_linear(check, 25_000)
    assert_cpu_below(0.5, lambda: check(100_000))
