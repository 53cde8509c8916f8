"""The decks and papers that claims cite, by tag.

A claim cites by tag and heading: "[Kingma], section 6.4". `Study.sources` adds to these, or goes
before them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Work:
    """A deck or a paper: as sentences name it, and as a list of references does.

    Args:
        words: How claims, tables and reports name it.
        title: In full.
        year: "" where it is not known.
        authors: Family name first, as BibTeX has it: ("Kingma, Diederik P.", "Ba, Jimmy").
        kind: Which of BibTeX's entries it is.
        where: The journal, the proceedings, the publisher, or what a deck is of.
        arxiv: Its number there.
    """

    words: str
    title: str
    year: str = ""
    authors: tuple[str, ...] = ()
    kind: Literal["article", "book", "inproceedings", "misc"] = "misc"
    where: str = ""
    arxiv: str = ""


WORKS = {
    "[ECNU]": Work(
        "AI Foundations, Lecture 13, ECNU",
        "AI Foundations, Lecture 13: Deep Learning",
        authors=("Yang, B.",),
        where="Lecture slides, East China Normal University",
    ),
    "[Overview]": Work(
        "Deep Learning Overview", "Deep Learning Overview", where="Slides of a training course"
    ),
    "[Oxford]": Work(
        "Deep learning, Oxford",
        "Deep learning",
        authors=("Pan, Y.",),
        where="Lecture slides, Department of Engineering Science, University of Oxford",
    ),
    "[SNU]": Work(
        "Neural Networks and Deep Learning, SNU 2016",
        "Neural Networks and Deep Learning",
        "2016",
        ("Won, J.-H.",),
        where="Lecture slides, Seoul National University",
    ),
    "[UIUC]": Work(
        "CS 412 Deep Learning, UIUC 2022",
        "CS 412 Introduction to Data Mining, Chapter 11: Deep Learning",
        "2022",
        ("Banerjee, A.",),
        where="Lecture slides, University of Illinois Urbana-Champaign",
    ),
    "[AutoCTS]": Work(
        "Wu et al. 2023, AutoCTS+",
        "AutoCTS+: Joint Neural Architecture and Hyperparameter Search for Correlated Time Series Forecasting",
        "2023",
        (
            "Wu, Xinle",
            "Zhang, Dalin",
            "Zhang, Miao",
            "Guo, Chenjuan",
            "Yang, Bin",
            "Jensen, Christian S.",
        ),
        "article",
        "Proceedings of the ACM on Management of Data",
    ),
    "[Bai]": Work(
        "Bai, Kolter & Koltun 2018, An Empirical Evaluation of Generic Convolutional and Recurrent Networks",
        "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling",
        "2018",
        ("Bai, Shaojie", "Kolter, J. Zico", "Koltun, Vladlen"),
        arxiv="1803.01271",
    ),
    "[Bergstra]": Work(
        "Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization",
        "Algorithms for Hyper-Parameter Optimization",
        "2011",
        ("Bergstra, James", "Bardenet, Rémi", "Bengio, Yoshua", "Kégl, Balázs"),
        "inproceedings",
        "Advances in Neural Information Processing Systems",
    ),
    "[Choi]": Work(
        "Choi et al. 2019, On Empirical Comparisons of Optimizers",
        "On Empirical Comparisons of Optimizers for Deep Learning",
        "2019",
        (
            "Choi, Dami",
            "Shallue, Christopher J.",
            "Nado, Zachary",
            "Lee, Jaehoon",
            "Maddison, Chris J.",
            "Dahl, George E.",
        ),
        arxiv="1910.05446",
    ),
    "[DARTS]": Work(
        "Liu et al. 2019, DARTS",
        "DARTS: Differentiable Architecture Search",
        "2019",
        ("Liu, Hanxiao", "Simonyan, Karen", "Yang, Yiming"),
        "inproceedings",
        "International Conference on Learning Representations",
        "1806.09055",
    ),
    "[Deb]": Work(
        "Deb et al. 2002, NSGA-II",
        "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II",
        "2002",
        ("Deb, Kalyanmoy", "Pratap, Amrit", "Agarwal, Sameer", "Meyarivan, T."),
        "article",
        "IEEE Transactions on Evolutionary Computation",
    ),
    "[Dong]": Work(
        "Dong & Yang 2020, NAS-Bench-201",
        "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search",
        "2020",
        ("Dong, Xuanyi", "Yang, Yi"),
        "inproceedings",
        "International Conference on Learning Representations",
        "2001.00326",
    ),
    "[Glorot10]": Work(
        "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks",
        "Understanding the difficulty of training deep feedforward neural networks",
        "2010",
        ("Glorot, Xavier", "Bengio, Yoshua"),
        "inproceedings",
        "International Conference on Artificial Intelligence and Statistics",
    ),
    "[Glorot11]": Work(
        "Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks",
        "Deep Sparse Rectifier Neural Networks",
        "2011",
        ("Glorot, Xavier", "Bordes, Antoine", "Bengio, Yoshua"),
        "inproceedings",
        "International Conference on Artificial Intelligence and Statistics",
    ),
    "[Goodfellow]": Work(
        "Goodfellow et al. 2016, Deep Learning",
        "Deep Learning",
        "2016",
        ("Goodfellow, Ian", "Bengio, Yoshua", "Courville, Aaron"),
        "book",
        "MIT Press",
    ),
    "[Greff]": Work(
        "Greff et al. 2015, LSTM: A Search Space Odyssey",
        "LSTM: A Search Space Odyssey",
        "2015",
        (
            "Greff, Klaus",
            "Srivastava, Rupesh Kumar",
            "Koutník, Jan",
            "Steunebrink, Bas R.",
            "Schmidhuber, Jürgen",
        ),
        arxiv="1503.04069",
    ),
    "[He15]": Work(
        "He et al. 2015, Delving Deep into Rectifiers",
        "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet Classification",
        "2015",
        ("He, Kaiming", "Zhang, Xiangyu", "Ren, Shaoqing", "Sun, Jian"),
        "inproceedings",
        "IEEE International Conference on Computer Vision",
        "1502.01852",
    ),
    "[He16]": Work(
        "He et al. 2016, Deep Residual Learning",
        "Deep Residual Learning for Image Recognition",
        "2016",
        ("He, Kaiming", "Zhang, Xiangyu", "Ren, Shaoqing", "Sun, Jian"),
        "inproceedings",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        "1512.03385",
    ),
    "[Hyperband]": Work(
        "Li et al. 2018, Hyperband",
        "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization",
        "2018",
        (
            "Li, Lisha",
            "Jamieson, Kevin",
            "DeSalvo, Giulia",
            "Rostamizadeh, Afshin",
            "Talwalkar, Ameet",
        ),
        "article",
        "Journal of Machine Learning Research",
        "1603.06560",
    ),
    "[Kingma]": Work(
        "Kingma & Ba 2015, Adam",
        "Adam: A Method for Stochastic Optimization",
        "2015",
        ("Kingma, Diederik P.", "Ba, Jimmy"),
        "inproceedings",
        "International Conference on Learning Representations",
        "1412.6980",
    ),
    "[LiTalwalkar]": Work(
        "Li & Talwalkar 2019, Random Search and Reproducibility for NAS",
        "Random Search and Reproducibility for Neural Architecture Search",
        "2019",
        ("Li, Liam", "Talwalkar, Ameet"),
        "inproceedings",
        "Conference on Uncertainty in Artificial Intelligence",
        "1902.07638",
    ),
    "[Müller]": Work(
        "Müller et al. 2019, When Does Label Smoothing Help?",
        "When Does Label Smoothing Help?",
        "2019",
        ("Müller, Rafael", "Kornblith, Simon", "Hinton, Geoffrey"),
        "inproceedings",
        "Advances in Neural Information Processing Systems",
        "1906.02629",
    ),
    "[Real]": Work(
        "Real et al. 2019, Regularized Evolution",
        "Regularized Evolution for Image Classifier Architecture Search",
        "2019",
        ("Real, Esteban", "Aggarwal, Alok", "Huang, Yanping", "Le, Quoc V."),
        "inproceedings",
        "AAAI Conference on Artificial Intelligence",
        "1802.01548",
    ),
    "[Schmidt]": Work(
        "Schmidt et al. 2021, Descending through a Crowded Valley",
        "Descending through a Crowded Valley: Benchmarking Deep Learning Optimizers",
        "2021",
        ("Schmidt, Robin M.", "Schneider, Frank", "Hennig, Philipp"),
        "inproceedings",
        "International Conference on Machine Learning",
        "2007.01547",
    ),
    "[Srivastava]": Work(
        "Srivastava et al. 2014, Dropout",
        "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
        "2014",
        (
            "Srivastava, Nitish",
            "Hinton, Geoffrey",
            "Krizhevsky, Alex",
            "Sutskever, Ilya",
            "Salakhutdinov, Ruslan",
        ),
        "article",
        "Journal of Machine Learning Research",
    ),
    "[Tan]": Work(
        "Tan & Le 2019, EfficientNet",
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "2019",
        ("Tan, Mingxing", "Le, Quoc V."),
        "inproceedings",
        "International Conference on Machine Learning",
        "1905.11946",
    ),
    "[White]": Work(
        "White et al. 2021, Exploring the Loss Landscape in NAS",
        "Exploring the Loss Landscape in Neural Architecture Search",
        "2021",
        ("White, Colin", "Nolen, Sam", "Savani, Yash"),
        "inproceedings",
        "Conference on Uncertainty in Artificial Intelligence",
        "2005.02960",
    ),
    "[Ying]": Work(
        "Ying et al. 2019, NAS-Bench-101",
        "NAS-Bench-101: Towards Reproducible Neural Architecture Search",
        "2019",
        (
            "Ying, Chris",
            "Klein, Aaron",
            "Christiansen, Eric",
            "Real, Esteban",
            "Murphy, Kevin",
            "Hutter, Frank",
        ),
        "inproceedings",
        "International Conference on Machine Learning",
        "1902.09635",
    ),
}

SOURCES = {tag: work.words for tag, work in WORKS.items()}


def work_of(words: str) -> Work:
    """The work that words name: of the shelf, or one of a study's own, whose title they then are."""
    for work in WORKS.values():
        if work.words == words:
            return work
    years = re.findall(r"\b(?:19|20)\d\d\b", words)
    return Work(words, words, years[0] if years else "")
