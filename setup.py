"Packaging: every value comes from settings.ini."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

HERE = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(HERE / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
home, lib = cfg["git_url"], cfg["lib_path"]
site = cfg["doc_host"] + cfg["doc_baseurl"]
readme = (HERE / "README.md").read_text(encoding="utf-8")
LINK = r"(!?)\[([^][]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)"
IMG = r'(<img [^>]*?src=")(?!https?:)'


def absolute(match):
    "A link of the README as it must be on a page that is not beside the files"
    picture, text, target = match.groups()
    kind = "raw" if picture else "blob"
    return f"{picture}[{text}]({home}/{kind}/{cfg['branch']}/{target})"


raw = f"{home}/raw/{cfg['branch']}/"
setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=re.sub(IMG, rf"\1{raw}", re.sub(LINK, absolute, readme)),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=home,
    project_urls={
        "Documentation": site,
        "Source": home,
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/{cfg['branch']}/CHANGELOG.md",
    },
    license_expression="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    keywords=cfg["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Natural Language :: English",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    packages=find_packages(include=[lib, lib + ".*"]),
    package_data={lib: ["models/*"]},
    python_requires=">=" + cfg["min_python"],
    install_requires=cfg["requirements"].split(),
    extras_require={
        "dev": cfg["dev_requirements"].split(),
        "video": cfg["video_requirements"].split(),
    },
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{lib}={lib}._modidx:d"],
    },
    zip_safe=False,
)
