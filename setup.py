"""Metadata of the package: name, version, requirements, and the files that are not Python.

`pyproject.toml` holds the build system and the settings of the tools, nothing else.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# NVRTC and the headers of 16-bit floats: what compiles the kernels for a GPU, also on a machine without one.
# Any 13.x, since PyTorch asks for one of them exactly.
NVRTC = ["nvidia-cuda-nvrtc>=13,<14", "nvidia-cuda-runtime>=13,<14"]

MPI = ["mpi4py>=4", "mpich>=4"]  # the wheel of mpich brings mpiexec; there is none for Windows
PEERS = ["torch>=2.6"]
MCP = "mcp>=2"  # for `python -m tinytensor mcp`: tools for coding agents

EXTRAS = {
    "gpu12": ["cupy-cuda12x>=14", "nvidia-cuda-nvrtc-cu12>=12.8", "nvidia-cuda-runtime-cu12>=12.8"],
    "gpu13": ["cupy-cuda13x>=14", *NVRTC],
    # cuBLAS and the other libraries of CUDA: for tt.config.matmul = "vendor"
    "vendor12": ["cupy-cuda12x[ctk]>=14"],
    "vendor13": ["cupy-cuda13x[ctk]>=14"],
    "nccl12": ["nvidia-nccl-cu12>=2.27.7,<3; sys_platform == 'linux'"],  # for several GPUs
    "nccl13": ["nvidia-nccl-cu13>=2.27.7,<3; sys_platform == 'linux'"],
    "compiler": ["ziglang>=0.13"],  # for device "emulated" where there is no g++ or clang++
    "gpt": ["tqdm>=4.60", "sentencepiece>=0.2", "gguf>=0.17", "jinja2>=3.1"],
    "data": ["pyarrow>=17"],  # examples for fine-tuning in Parquet files
    "mcp": [MCP],
    "mpi": MPI,
    "plot": ["matplotlib>=3.8"],
    "dev": [
        "setuptools>=65",
        "wheel>=0.40",
        "pytest>=9.0",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "regex>=2023.12",
        "safetensors>=0.7",  # what the reader and the writer of weight files are compared with
        "ruff>=0.17.6,<0.18",  # another minor version may format differently
        "mypy>=2.4,<3",
        *[f"{name}; sys_platform != 'win32'" for name in MPI],
        # 66 MB; there are none for macOS, where the tests that need them are skipped
        *[f"{name}; sys_platform != 'darwin'" for name in (*NVRTC, "nvidia-cuda-nvdisasm>=13,<14")],
    ],
    "peers": PEERS,  # what the benchmarks time beside the engine
    "oracle": [
        *[*PEERS, "transformers>=4.48", "tiktoken>=0.9"],
        *["einops>=0.8", "joblib>=1.4", "ml_dtypes>=0.5", "pandas>=2.2", "pyarrow>=17", MCP],
    ],
    "docs": [
        "sphinx>=8",
        "myst-nb>=1.3",
        "jupytext>=1.16",
        "furo>=2025.7",
        "sphinx-copybutton>=0.5",
    ],
}

setup(
    name="tinytensor",
    version="0.1.0",
    description="A readable tensor engine with autograd, and a GPT that is trained on it",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the tinytensor authors",
    license="MIT",
    classifiers=[
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C++",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    keywords="tensor autograd strides cuda emulator gpt education",
    python_requires=">=3.11",
    install_requires=["numpy>=2.3"],
    extras_require=EXTRAS,
    packages=find_packages(include=["tinytensor", "tinytensor.*", "gpt", "gpt.*"]),
    package_data={
        "tinytensor": ["py.typed"],
        "tinytensor.kernels": ["**/*.cu", "**/*.cuh", "**/*.h", "**/*.cpp", "README.md"],
        "tinytensor.lab": ["**/*.js", "**/*.css", "**/*.html"],
        "tinytensor.runtime": ["**/*.h", "**/*.cpp", "headers/**/*"],
        "tinytensor.emulator": ["README.md", "**/*.h", "**/*.cpp", "run/include/**/*"],
        "tinytensor.puzzles": ["start/*.cu"],
        "gpt": ["py.typed", "text/*"],
        "gpt.live": ["*.js", "*.css"],
    },
    # As `python -m tinytensor` and `python -m gpt`, which a file gpt.py in the current folder would hide.
    entry_points={
        "console_scripts": ["tinytensor = tinytensor.__main__:main", "tinytensor-gpt = gpt.__main__:main"]
    },
    zip_safe=False,
    # `pip install -e .` puts this folder on Python's path. With a finder, which is the default, a program
    # next to a clone called tinytensor would get the clone itself, as a package without code.
    options={"editable_wheel": {"mode": "compat"}},
)
