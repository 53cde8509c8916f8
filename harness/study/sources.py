"""The decks and papers that claims cite, by tag: authors, year and title.

A claim cites by tag and heading: "[Kingma], section 6.4". `Study.sources` adds to these, or goes
before them.
"""

SOURCES = {
    "[ECNU]": "AI Foundations, Lecture 13, ECNU",
    "[Overview]": "Deep Learning Overview",
    "[Oxford]": "Deep learning, Oxford",
    "[SNU]": "Neural Networks and Deep Learning, SNU 2016",
    "[UIUC]": "CS 412 Deep Learning, UIUC 2022",
    "[AutoCTS]": "Wu et al. 2023, AutoCTS+",
    "[Bai]": "Bai, Kolter & Koltun 2018, An Empirical Evaluation of Generic Convolutional and Recurrent Networks",
    "[Bergstra]": "Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization",
    "[Choi]": "Choi et al. 2019, On Empirical Comparisons of Optimizers",
    "[DARTS]": "Liu et al. 2019, DARTS",
    "[Deb]": "Deb et al. 2002, NSGA-II",
    "[Dong]": "Dong & Yang 2020, NAS-Bench-201",
    "[Glorot10]": "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks",
    "[Glorot11]": "Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks",
    "[Goodfellow]": "Goodfellow et al. 2016, Deep Learning",
    "[Greff]": "Greff et al. 2015, LSTM: A Search Space Odyssey",
    "[He15]": "He et al. 2015, Delving Deep into Rectifiers",
    "[He16]": "He et al. 2016, Deep Residual Learning",
    "[Hyperband]": "Li et al. 2018, Hyperband",
    "[Kingma]": "Kingma & Ba 2015, Adam",
    "[LiTalwalkar]": "Li & Talwalkar 2019, Random Search and Reproducibility for NAS",
    "[Müller]": "Müller et al. 2019, When Does Label Smoothing Help?",
    "[Real]": "Real et al. 2019, Regularized Evolution",
    "[Schmidt]": "Schmidt et al. 2021, Descending through a Crowded Valley",
    "[Srivastava]": "Srivastava et al. 2014, Dropout",
    "[Tan]": "Tan & Le 2019, EfficientNet",
    "[White]": "White et al. 2021, Exploring the Loss Landscape in NAS",
    "[Ying]": "Ying et al. 2019, NAS-Bench-101",
}
