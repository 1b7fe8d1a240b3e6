"""Metadata of the package: name, version, requirements, and the files that are not Python.

`pyproject.toml` holds the build system and the settings of the tools, nothing else.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

EXTRAS = {
    "compiler": ["ziglang>=0.13"],  # for device "emulated" where there is no g++ or clang++
    "gpt": ["tqdm>=4.60", "safetensors>=0.7"],
    "plot": ["matplotlib>=3.8"],
    "dev": [
        "setuptools>=65",
        "wheel>=0.40",
        "pytest>=9.0",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "regex>=2023.12",
        "ruff>=0.17.6,<0.18",  # another minor version may format differently
        "mypy>=2.4,<3",
    ],
    "oracle": ["torch>=2.6", "transformers>=4.48"],
}

setup(
    name="tinytensor",
    version="0.1.0",
    description="A readable tensor engine with autograd, and a GPT that is trained on it",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    install_requires=["numpy>=2.3"],
    extras_require=EXTRAS,
    packages=find_packages(include=["tinytensor", "tinytensor.*", "gpt", "gpt.*"]),
    package_data={
        "tinytensor": ["py.typed"],
        "tinytensor.kernels": ["*.cu", "*.cuh", "*.h", "*.cpp", "README.md"],
        "tinytensor.runtime": ["**/*.h", "**/*.cpp"],
        "gpt": ["py.typed", "text/*"],
    },
    zip_safe=False,
)
