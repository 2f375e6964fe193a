"""Gives the wheel the name of its platform: it holds a library, and no code that depends on a version of Python."""

from setuptools import setup
from wheel.bdist_wheel import bdist_wheel


class Platform(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(cmdclass={"bdist_wheel": Platform})
