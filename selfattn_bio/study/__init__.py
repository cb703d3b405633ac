"""A task as one object, `Study`: its run file, its results folder, and the steps between them."""

from selfattn_bio.study.study import Study
