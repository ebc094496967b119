"""Generated papers: random data from a seed, in the form of arXiv's records."""

# ruff: noqa: PLR2004, SIM905 - probabilities and word lists are data here

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Author:
    """An author or a collaboration, with any number of affiliations."""

    name: str
    affiliations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upload:
    """The files of a version."""

    kilobytes: int
    source_type: str = ""
    """The letters of OAI-PMH: `D` is PDF made of TeX and `I` is a withdrawal."""


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper in its newest version."""

    arxiv_id: str
    """Without a version: `hep-th/9901001` or `2101.00001`."""
    title: str
    abstract: str
    authors: tuple[Author, ...]
    categories: tuple[str, ...]
    """The primary category comes first."""
    versions: tuple[datetime, ...]
    """Submission time of each version, oldest first."""
    comment: str | None = None
    journal_ref: str | None = None
    report_number: str | None = None
    dois: tuple[str, ...] = ()
    msc_class: str | None = None
    acm_class: str | None = None
    license: str | None = None
    submitter: str = "Ada Novák"
    proxy: str | None = None
    """Who submitted the paper for the authors."""
    uploads: tuple[Upload, ...] = ()
    """The files of each version; those that are missing are of a common kind."""
    changed: date | None = None
    """The day on which arXiv changed the metadata last, if not that of the newest version."""

    @property
    def classes(self) -> tuple[str, ...]:
        """ACM and MSC terms, which appear as categories in feeds of the old family."""
        return tuple(filter(None, (self.acm_class, self.msc_class)))

    @property
    def datestamp(self) -> date:
        """The day of the last change of the metadata."""
        return self.changed or max(self.updated.date(), FIRST_DATESTAMP)

    def get_upload(self, version: int) -> Upload:
        """Return the files of a version."""
        return self.uploads[version - 1] if version <= len(self.uploads) else Upload(12)

    @property
    def version(self) -> int:
        """The number of the newest version."""
        return len(self.versions)

    @property
    def submitted(self) -> datetime:
        """Submission time of the first version."""
        return self.versions[0]

    @property
    def updated(self) -> datetime:
        """Submission time of the newest version."""
        return self.versions[-1]

    def at(self, version: int) -> Paper:
        """Return the paper in an earlier version."""
        return replace(self, versions=self.versions[:version])


@dataclass(frozen=True, slots=True)
class Subject:
    """The vocabulary of the papers in one subject."""

    archive: str
    """Prefix of ids before April 2007."""
    categories: tuple[str, ...]
    things: tuple[str, ...]
    methods: tuple[str, ...]
    journals: tuple[str, ...]
    classes: tuple[str, ...] = ()
    """Of MSC in mathematics and of ACM in computer science."""


FIRST_DAY: Final = datetime(1992, 1, 1, tzinfo=UTC)
LAST_DAY: Final = datetime(2025, 12, 31, tzinfo=UTC)
NEW_IDS: Final = datetime(2007, 4, 1, tzinfo=UTC)
FIVE_DIGITS: Final = datetime(2015, 1, 1, tzinfo=UTC)
FIRST_DATESTAMP: Final = date(2005, 9, 16)
"""The day of arXiv's oldest datestamps: older changes were not recorded."""
LAST_DATESTAMP: Final = date(2026, 1, 31)
MAX_PAPERS: Final = 100_000
"""Limit set by the three digits of old ids."""

SUBJECTS: Final = (
    Subject(
        "hep-th",
        ("hep-th", "gr-qc", "math-ph", "hep-ph"),
        ("black hole", "string vacuum", "conformal field theory", "Wilson loop", "D-brane"),
        ("supersymmetric localization", "the conformal bootstrap", "holography", "duality"),
        ("Phys. Rev. D", "JHEP", "Nucl. Phys. B"),
    ),
    Subject(
        "hep-ph",
        ("hep-ph", "hep-ex", "nucl-th", "hep-lat"),
        ("Higgs boson", "neutrino", "top quark", "dark matter", "axion", "B meson"),
        ("lattice simulation", "effective field theory", "resummation", "a global fit"),
        ("Phys. Lett. B", "Eur. Phys. J. C", "Phys. Rev. D"),
    ),
    Subject(
        "astro-ph",
        ("astro-ph.GA", "astro-ph.CO", "astro-ph.HE", "astro-ph.EP", "astro-ph.IM"),
        ("galaxy cluster", "gamma-ray burst", "exoplanet", "supernova", "cosmic ray", "quasar"),
        ("spectroscopy", "weak lensing", "radial velocities", "X-ray imaging"),
        ("Astrophys. J.", "MNRAS", "A&A"),
    ),
    Subject(
        "cond-mat",
        ("cond-mat.mes-hall", "cond-mat.str-el", "cond-mat.stat-mech", "cond-mat.supr-con"),
        ("superconductor", "electron gas", "spin glass", "graphene sheet", "skyrmion"),
        ("Monte Carlo sampling", "density functional theory", "transport measurements"),
        ("Phys. Rev. B", "Phys. Rev. Lett.", "J. Phys.: Condens. Matter"),
    ),
    Subject(
        "quant-ph",
        ("quant-ph", "cs.CR", "cond-mat.quant-gas", "physics.atom-ph"),
        ("entangled state", "quantum channel", "qubit", "quantum walk", "cold atom"),
        ("error correction", "tomography", "adiabatic evolution", "weak measurement"),
        ("Phys. Rev. A", "Quantum", "New J. Phys."),
    ),
    Subject(
        "math",
        ("math.AP", "math.NT", "math.PR", "math.CO", "math.AG", "math.DG"),
        ("elliptic operator", "prime gap", "random walk", "planar graph", "moduli space"),
        ("a variational argument", "sieve methods", "coupling", "spectral estimates"),
        ("Duke Math. J.", "Adv. Math.", "Trans. Amer. Math. Soc."),
        ("35J20, 35B38", "11N05", "60G50", "05C10 (Primary) 05C15 (Secondary)", "14D20"),
    ),
    Subject(
        "cs",
        ("cs.SE", "cs.LG", "cs.AI", "cs.CL", "cs.CV", "cs.DS", "stat.ML"),
        ("neural network", "language model", "compiler", "unit test", "transformer", "scheduler"),
        ("reinforcement learning", "fuzzing", "static analysis", "self-attention", "pruning"),
        ("J. ACM", "IEEE Trans. Softw. Eng.", "Proc. VLDB Endow."),
        ("D.2.5", "I.2.6; I.2.7", "F.2.2"),
    ),
    Subject(
        "q-bio",
        ("q-bio.PE", "q-bio.NC", "q-bio.BM", "physics.bio-ph"),
        ("protein fold", "epidemic", "neuron", "gene network", "predator population"),
        ("stochastic simulation", "phylogenetic inference", "mean-field analysis"),
        ("J. Theor. Biol.", "PLoS Comput. Biol.", "Bull. Math. Biol."),
    ),
    Subject(
        "physics",
        ("physics.optics", "physics.flu-dyn", "physics.soc-ph", "eess.SP", "econ.TH"),
        ("laser pulse", "turbulent jet", "social network", "optical cavity", "glacier"),
        ("interferometry", "large-eddy simulation", "time series", "scaling analysis"),
        ("Opt. Express", "J. Fluid Mech.", "Physica A"),
    ),
)

TITLES: Final = (
    "On the {quality} of the {thing}",
    "{Method} for the {thing}",
    "{Quality} of {a_thing}: a view from {method}",
    "Towards {a_adjective} {thing}",
    "The {adjective} {thing} and the {other}",
    "From {thing} to {other} by {method}",
    "{Adjective} {thing} at $T < T_c$",
    "How {adjective} is {a_thing}?",
    "A note on {method}",
    r"The {thing} with $\mathcal{{N}}={number}$ and its {quality}",
    "{Method} & the {adjective} {thing}",
    "Testing the {quality} of {a_thing}",
)
TESTING_TITLES: Final = (
    "Testing {a_adjective} {thing} with {method}",
    "Property-based testing of the {thing}",
    "{Method} and the testing of {quality}",
    "Hypothesis testing for the {adjective} {thing}",
)
SENTENCES: Final = (
    "We study the {quality} of {a_adjective} {thing} by means of {method}.",
    "It has long been unclear whether the {thing} shows {quality} once {method} is applied.",
    "For $\u03b1> 0.{number}$ the {thing} stays {adjective}, while the {other} does not.",
    "Our estimate improves on earlier bounds by a factor of {number}.",
    "The {quality} is measured in {number} samples & compared with {method}.",
    "Where the rate falls below a threshold <r_{number}>, {a_adjective} {thing} appears.",
    "As a by-product we obtain {a_adjective} description of the {other}.",
    r"We show that $\|u\|_{{L^{number}}} \le C$ implies {quality} for every {thing}.",
    "Nothing of the kind is known for the {other}, and we give a counterexample.",
    'We call such a {thing} "{adjective}" and list {number} open questions.',
    "Code and tables are available from the authors on request.",
    "In contrast to the {other}, the {thing} needs no {method}.",
)
ADJECTIVES: Final = tuple(
    "adaptive anisotropic bounded chaotic compact deep discrete driven dissipative exact finite "
    "generic hidden inhomogeneous integrable large-scale local massive noisy non-linear rotating "
    "sparse stable stochastic symmetric topological ultracold universal unstable weak".split()
)
QUALITIES: Final = tuple(
    "asymptotics|completeness|convergence|decay|ergodicity|formation|fragility|growth|hardness|"
    "interpretability|long-time behaviour|mass spectrum|phase structure|regularity|reliability|"
    "robustness|scaling|stability|temperature dependence|universality".split("|")
)
GIVEN: Final = tuple(
    "Ada Agnieszka Amara Anders Beatriz Bogdan Camille Chiara Daiyu Dmitri Eilidh Emre Farida "
    "Gonzalo Hana Henrik Ingrid Ivana Jorge José Kofi Leila Linh Łucja Mairéad Marek Mei Nadia "
    "Niamh Noor Olu Øyvind Paola Priya Rafael Ravi Sanne Şebnem Sofía Tomáš Ulrike Wei Yara Yuki "
    "Zoltán Žofia".split()
)
FAMILY: Final = tuple(
    "Abara|Ahlgren|Almeida|Andrássy|Bianchi|Bjørnstad|Brandt|Castellón|Chatterjee|Cohen|da Rocha|"
    "de la Peña|Dvořák|Eriksen|Fàbregas|Fitzgerald|Fournier|Garibaldi|Götz|Grünwald|Hoàng|Ibrahim|"
    "Ito|Jankowski|Kamau|Kowalczyk|Kowalski-Lind|Laurent|Li|Mac an Bhaird|Mbeki|Moreau|Müller|"
    "Nakamura|Nguyễn|Novák|O'Rourke|Okafor|Öztürk|Papadakis|Petrova|Quispe|Rao|Rossi|Ružić|Sato|"
    "Schäfer|Silva|Sørensen|Steiner|Suzuki|Szabó|Tanaka|Thorsen|Ueda|van der Meer|Vargas|"
    "von Stein|Wang|Weiß|Yilmaz|Zając|Zhang".split("|")
)
AFFILIATIONS: Final = (
    "Institute for Advanced Measurement, Tarnbrook",
    "University of Northmere",
    "Dept. of Physics & Astronomy, Port Alder College",
    "Laboratório de Física, Universidade de Monte Claro",
    "École des Sciences, Valmont",
    "Center for Computation, Eastvale",
    "Universität Lindenau",
)
COLLABORATIONS: Final = ("Meridian", "Borealis-II", "Cascade", "North Array", "LUMEN")
COMMENTS: Final = (
    "{number} pages",
    "{number} pages, {few} figures",
    "{number} pages, {few} figures, {few} tables; comments welcome",
    "Accepted for publication in {journal}",
    "v{few}: typos corrected, references added",
    "LaTeX, {number} pages, {few} eps figures. To appear in {journal}",
    "Talk given at the Tarnbrook winter school; {number} pages",
)
WITHDRAWN: Final = (
    "This paper has been withdrawn by the author because of an error in Lemma {few}",
    "Withdrawn: superseded by a later paper with more data",
    "This submission was withdrawn by the authors, who found a sign error in Eq. ({few})",
)


LICENSES: Final = (
    "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
    "http://creativecommons.org/licenses/by/4.0/",
    "http://creativecommons.org/licenses/by-nc-nd/4.0/",
    "http://creativecommons.org/publicdomain/zero/1.0/",
)


def generate(count: int = 5000, seed: int = 1) -> list[Paper]:
    """Generate papers, oldest first. The same count and seed generate the same papers."""
    if not 0 <= count <= MAX_PAPERS:
        message = f"the number of papers must be between 0 and {MAX_PAPERS:,}, not {count}"
        raise ValueError(message)
    random = Random(seed)  # noqa: S311 - not used for security
    span = (LAST_DAY - FIRST_DAY).total_seconds()
    # The square root makes papers of later years more frequent, as on arXiv.
    days = sorted(
        FIRST_DAY + timedelta(seconds=int(span * random.random() ** 0.5)) for _ in range(count)
    )
    numbers: Counter[str] = Counter()
    papers = [_generate_paper(random, number, day, numbers) for number, day in enumerate(days)]
    for nth, change in enumerate(SPECIAL_CASES):
        # Spread over the years, so that a small number of papers includes them too.
        position = nth * count // len(SPECIAL_CASES)
        if position < count:
            papers[position] = replace(papers[position], **change)
    return [_add_record(paper, seed) for paper in papers]


def _generate_paper(random: Random, number: int, day: datetime, numbers: Counter[str]) -> Paper:
    subject = random.choice(SUBJECTS)
    primary = random.choice(subject.categories)
    journal = random.choice(subject.journals)
    words = _choose_words(random, subject)
    few, many = str(random.randint(1, 9)), str(random.randint(3, 60))
    # Every twentieth title contains "testing", so that examples can search for it.
    patterns = TESTING_TITLES if number % 20 == 7 else TITLES
    published = random.random() < 0.4
    paper = Paper(
        arxiv_id=_generate_id(subject.archive, day, numbers),
        title=_capitalize(random.choice(patterns).format_map(words)),
        abstract=_generate_abstract(random, subject),
        authors=_generate_authors(random),
        categories=(primary, *_choose_cross_lists(random, subject, primary)),
        versions=_generate_versions(random, day),
        comment=_generate_comment(random, journal, few, many),
        journal_ref=_generate_journal_ref(random, journal, day) if published else None,
        report_number=f"NM-{day:%y}-{many}" if random.random() < 0.1 else None,
        dois=tuple(_generate_dois(random, number)) if published else (),
    )
    if not subject.classes:
        return paper
    chosen = random.choice(subject.classes)
    if subject.archive == "math":
        return replace(paper, msc_class=chosen)
    return replace(paper, acm_class=chosen)


def _add_record(paper: Paper, seed: int) -> Paper:
    """Add what only other sources than the API have."""
    # A source of its own, so that these fields do not change the others.
    random = Random(f"{seed} {paper.arxiv_id}")  # noqa: S311 - not used for security
    names = [author.name for author in paper.authors if not author.name.startswith(" ")]
    withdrawn = "withdrawn" in (paper.comment or "").lower()
    return replace(
        paper,
        authors=_propagate_affiliations(paper.authors),
        # Papers of the first years have none.
        license=random.choice(LICENSES) if paper.submitted >= NEW_IDS else None,
        submitter=random.choice(names) if names else "Ada Novák",
        proxy="vtex" if random.random() < 0.02 else None,
        msc_class=paper.msc_class or ("68T05" if random.random() < 0.02 else None),
        acm_class=paper.acm_class or ("G.1.8" if random.random() < 0.02 else None),
        uploads=tuple(
            Upload(0, "I")
            if withdrawn and number == paper.version
            else Upload(random.randint(5, 4_000), random.choice(("", "", "D", "D", "S", "AD")))
            for number in range(1, paper.version + 1)
        ),
        changed=_generate_datestamp(random, paper.updated.date()),
    )


def _propagate_affiliations(authors: tuple[Author, ...]) -> tuple[Author, ...]:
    """Give authors without affiliation those of the next author with any, as arXiv does."""
    last: tuple[str, ...] = ()
    reversed_authors = []
    for author in reversed(authors):
        last = author.affiliations or last
        is_group = author.name.startswith(" ")
        reversed_authors.append(author if is_group else replace(author, affiliations=last))
    return tuple(reversed(reversed_authors))


def _generate_datestamp(random: Random, updated: date) -> date:
    """Generate the day of the last change; one in four was by administrators, years later."""
    days = random.randint(300, 3_000) if random.random() < 0.25 else random.randint(0, 4)
    return max(FIRST_DATESTAMP, min(updated + timedelta(days), LAST_DATESTAMP))


def _generate_id(archive: str, day: datetime, numbers: Counter[str]) -> str:
    if day < NEW_IDS:
        prefix, digits = f"{archive}/{day:%y%m}", 3
    elif day < FIVE_DIGITS:
        prefix, digits = f"{day:%y%m}.", 4
    else:
        prefix, digits = f"{day:%y%m}.", 5
    numbers[prefix] += 1
    return f"{prefix}{numbers[prefix]:0{digits}}"


def _choose_words(random: Random, subject: Subject) -> dict[str, str]:
    """Choose the words of one title or one sentence."""
    thing, other = random.sample(subject.things, 2)
    adjective = random.choice(ADJECTIVES)
    words = {
        "thing": thing,
        "a_thing": _add_article(thing),
        "other": other,
        "method": random.choice(subject.methods),
        "adjective": adjective,
        "a_adjective": _add_article(adjective),
        "quality": random.choice(QUALITIES),
        "number": str(random.randint(2, 99)),
    }
    return words | {name.capitalize(): _capitalize(word) for name, word in words.items()}


def _add_article(word: str) -> str:
    return f"an {word}" if word[0] in "aeio" or word.startswith(("ult", "uns")) else f"a {word}"


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def _generate_abstract(random: Random, subject: Subject) -> str:
    chosen = random.sample(SENTENCES, random.randint(4, 7))
    sentences = [sentence.format_map(_choose_words(random, subject)) for sentence in chosen]
    if random.random() < 0.1:
        sentences.insert(2, "\n  " + sentences.pop(2))  # some contain a paragraph break
    padding = "  " if random.random() < 0.07 else ""  # some contain the old indentation
    return padding + " ".join(sentences).replace(" \n", "\n")


def _generate_authors(random: Random) -> tuple[Author, ...]:
    if random.random() < 0.03:
        # Names of collaborations often begin with a space on arXiv.
        return (Author(f" {random.choice(COLLABORATIONS)} Collaboration"),)
    count = random.choice((1, 1, 2, 2, 3, 4, 6))
    if random.random() < 0.03:
        count = random.randint(12, 40)
    affiliated = random.random() < 0.15
    return tuple(
        Author(_generate_name(random), tuple(_choose_affiliations(random)) if affiliated else ())
        for _ in range(count)
    )


def _generate_name(random: Random) -> str:
    given, family = random.choice(GIVEN), random.choice(FAMILY)
    kind = random.random()
    if kind < 0.15:
        return f"{given[0]}. {family}"
    if kind < 0.3:
        return f"{given} {random.choice('ABCDEFGHJKLMNPRSTVW')}. {family}"
    return f"{given} {family}"


def _choose_affiliations(random: Random) -> list[str]:
    return random.sample(AFFILIATIONS, random.choice((0, 1, 1, 1, 2)))


def _choose_cross_lists(random: Random, subject: Subject, primary: str) -> list[str]:
    """Choose the categories in which a paper is cross-listed."""
    others = [category for category in subject.categories if category != primary]
    return random.sample(others, random.choice((0, 0, 0, 1, 1, 2)))


def _generate_versions(random: Random, day: datetime) -> tuple[datetime, ...]:
    versions = [day]
    while random.random() < 0.35:
        versions.append(versions[-1] + timedelta(seconds=random.randint(3_600, 40_000_000)))
    return (day, *(later for later in versions[1:] if later <= LAST_DAY))


def _generate_comment(random: Random, journal: str, few: str, many: str) -> str | None:
    kind = random.random()
    if kind < 0.2:
        return None
    pattern = random.choice(WITHDRAWN if kind < 0.23 else COMMENTS)
    return pattern.format(number=many, few=few, journal=journal)


def _generate_journal_ref(random: Random, journal: str, day: datetime) -> str:
    volume, page = random.randint(10, 900), random.randint(1, 99_999)
    year = day.year + random.randint(0, 2)
    pattern = random.choice(("{} {} ({}) {}", "{}{}:{},{}", "{} {}, {}, p. {}"))
    return pattern.format(journal, volume, year, page)


def _generate_dois(random: Random, number: int) -> Iterable[str]:
    """Generate the DOI of the journal and sometimes one of an erratum; 10.5555 is for tests."""
    if random.random() < 0.8:
        yield f"10.5555/paper.{number:06}"
        if random.random() < 0.1:
            yield f"10.5555/erratum.{number:06}"


SPECIAL_CASES: Final[tuple[dict[str, Any], ...]] = (
    {"title": "0"},
    {
        "title": "Testing $\u03c1< \u03c1_c$ & the \\emph{weak} limit of \u010cech sets",
        "abstract": "If <f_c> & <g> agree, then $a < b$ \"holds\"; see 'Tables' 1--3.",
    },
    {
        "authors": (
            Author(" Meridian Collaboration", AFFILIATIONS[:3]),
            Author("Łucja Müller-Ñandú", AFFILIATIONS[2:4]),
            Author("A. O'Rourke"),
        )
    },
    {"authors": tuple(Author(f"{given} {family}") for given in GIVEN for family in FAMILY[:8])},
    {"dois": ("10.5555/0370-2693(93)90001-<A>", "10.5555/b;2", "10.5555/c&d")},
    {"comment": "Withdrawn by the author, since the main theorem was known"},
    {"comment": None, "journal_ref": None, "report_number": None, "dois": ()},
    {
        "title": "Zur Stabilität der \u201eWirbel\u201c \u2014 \u03c9-limits, naïve \u2260 exact",
        "abstract": "  \u00dcberblick in two parts.\n  The second part has its own paragraph.\n",
    },
    {"title": "A very long title " + "on the length of titles, " * 14 + "that ends here"},
    {"title": '"Quoted" testing, with an ü composed of u\u0308'},
)

_DAY: Final = datetime(2026, 1, 5, 12, 0, 1, tzinfo=UTC)
ODD_PAPERS: Final = (
    Paper(
        arxiv_id="2601.00001",
        title="Odd DOIs",
        abstract="The DOIs are not bare.",
        authors=(Author("Ada Novák"),),
        categories=("cs.DL",),
        versions=(_DAY,),
        dois=("doi:10.5555/a", "https://doi.org/10.5555/b", "10.5555/c;10.5555/d", "10.5555/e,"),
    ),
    Paper(
        arxiv_id="2601.00002",
        title="Odd authors",
        abstract="A colon follows the name of the group.",
        authors=(
            Author("LUMEN Workshop", AFFILIATIONS[:2]),
            Author(":"),
            Author("J. -P. Fournier Jr."),
            Author("Ružić", AFFILIATIONS),
        ),
        categories=("hep-ex", "physics.ins-det"),
        versions=(_DAY, _DAY.replace(month=2)),
    ),
    Paper(
        arxiv_id="2601.00003",
        title='Odd ]]> <script>alert("1")</script> &amp; \'title\' \u202e\u00ad {\\"o} =1+1',
        abstract="\n  First line,\r\n\tsecond line  \n\n  ",
        authors=(Author('<b>"Ada"</b> & Co'),),
        categories=("math.GM",),
        versions=(_DAY,),
        comment='12 pages; <a href="x">\n  two lines</a>',
        journal_ref='J. "A" & <B> 1',
    ),
    Paper(
        arxiv_id="solv-int/9901001",
        title="Odd archive, whose name contains a v",
        abstract="An id of a closed archive.",
        authors=(Author("Ada Novák"),),
        categories=("nlin.SI", "solv-int"),
        versions=(datetime(1999, 1, 4, tzinfo=UTC),) * 3,
    ),
)
"""Papers with rare defects of arXiv's metadata, for tests that add them to generated ones."""
