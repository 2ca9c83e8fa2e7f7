"""An ARM machine emulated by QEMU, with LiteRT for it: set up once, in the folder `.venv-arm`.

Debian's arm64 packages of Python 3.11 are unpacked there, and the aarch64 wheels of LiteRT and what it imports, in the
versions of requirements.lock. QEMU runs one program, not a system: it looks for a file in the machine's folder first
and then on the host. So the machine has an ARM processor's `/proc/cpuinfo`, by which XNNPACK chooses its kernels.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import whole_folder

QEMU = "qemu-aarch64-static"
# Programs and the Debian packages that bring them.
TOOLS = {QEMU: "qemu-user-static", "apt-get": "apt", "dpkg": "dpkg"}
FOLDER = pathlib.Path(".venv-arm")
PYTHON = "3.11"  # Debian 12's
DEBS = (
    *("libc6", "libgcc-s1", "libstdc++6", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
    *("zlib1g", "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libuuid1", "libcrypt1"),
)
WHEELS = (
    *("ai-edge-litert", "numpy", "ml-dtypes", "flatbuffers", "protobuf", "tqdm", "typing-extensions"),
    "backports-strenum",
)
_LOCK = pathlib.Path(__file__).resolve().parents[2] / "requirements.lock"
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_SHARED = "shared"  # what the processors' folders have in common
_WHEELS_FOLDER = "wheels"
# Written last: what was unpacked, a line each.
_CONTENTS = "contents.txt"


@dataclasses.dataclass(frozen=True)
class Processor:
    """A processor that QEMU emulates.

    Attributes:
        name: QEMU's, which decides what instructions it has.
        part: number of the part in `/proc/cpuinfo`, by which XNNPACK knows the core.
        features: the line of its features there, by which XNNPACK chooses kernels.
    """

    name: str
    part: str
    features: str


_ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
CORTEX_A53 = Processor("cortex-a53", "0xd03", _ARMV8_0)
# With the dot product, `asimddp`.
CORTEX_A76 = Processor("cortex-a76", "0xd0b", f"{_ARMV8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp")
_PROCESSORS = (CORTEX_A76, CORTEX_A53)
# SDOT by element and by vector, as a mask and the bits under it.
_SDOT = ((0xBFC0F400, 0x0F80E000), (0xBFE0FC00, 0x0E809400))
_INSTRUCTION = re.compile(r"^0x[0-9a-f]+: +([0-9a-f]{8}) ", re.MULTILINE)


def missing_tools():
    """Returns the Debian packages of the programs that are not installed, a list."""
    return [package for tool, package in TOOLS.items() if shutil.which(tool) is None]


class Machine:
    """The emulated machine.

    Args:
        folder: `pathlib.Path` of its folder. It is made, or made anew, if it does not hold what it should.

    Attributes:
        contents: list of the names of the unpacked packages and wheels, with their versions.

    Raises:
        UserError: a program is missing, or a package cannot be downloaded.
    """

    def __init__(self, folder=FOLDER):
        missing = missing_tools()
        if missing:
            raise UserError(f"the emulated ARM machine takes programs of Debian: apt-get install {' '.join(missing)}")
        self._folder = folder.absolute()
        contents, wanted = self._folder / _CONTENTS, [*DEBS, *pinned_wheels()]
        if not contents.exists() or contents.read_text().split("\n\n")[0].splitlines() != wanted:
            shutil.rmtree(self._folder, ignore_errors=True)
            print("setting up the ARM machine", file=sys.stderr)
            with whole_folder(self._folder) as partial:
                found = _fill(partial)
                (partial / _CONTENTS).write_text("\n".join([*wanted, "", *found]) + "\n")
        self.contents = contents.read_text().split("\n\n")[1].split()

    def run(self, processor, script, *arguments, log=()):
        """Runs a Python script on a `Processor`; returns the finished process with its output as text.

        Args:
            processor: `Processor`.
            script, *arguments: as Python's.
            log: arguments of QEMU that ask for a log.
        """
        root = self._folder / processor.name
        command = [QEMU, *log, "-cpu", processor.name, "-L", root, root / f"usr/bin/python{PYTHON}", "-sS", script]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": f"/{_WHEELS_FOLDER}"}
        return subprocess.run(
            list(map(str, [*command, *arguments])), env=environment, capture_output=True, text=True, errors="replace"
        )

    def dot_products(self, processor, script, *arguments):
        """Runs a script; returns how many instructions of the code that was reached are dot products (SDOT)."""
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "code.txt")
            finished = self.run(processor, script, *arguments, log=("-d", "in_asm", "-D", log))
            if finished.returncode:
                raise UserError(f"a program failed on {processor.name} ({one_line(finished.stderr, 300)})")
            words = (int(word, 16) for word in _INSTRUCTION.findall(log.read_text(errors="replace")))
            return sum(any(word & mask == bits for mask, bits in _SDOT) for word in words)


def qemu_version():
    """Returns what QEMU says of its version."""
    return subprocess.run([QEMU, "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def pinned_wheels():
    """Returns the requirements of the machine's wheels, `name==version`, as requirements.lock has them."""
    from packaging.requirements import Requirement

    machine = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.2", "platform_machine": "aarch64"}
    pins = {}
    for line in _LOCK.read_text(encoding="utf-8").splitlines():
        requirement = Requirement(line)
        if requirement.name in WHEELS and (requirement.marker is None or requirement.marker.evaluate(machine)):
            pins[requirement.name] = f"{requirement.name}{requirement.specifier}"
    return [pins[name] for name in WHEELS]


def _fill(folder):
    """Unpacks everything below an empty folder and gives each processor its own; returns the names of the files."""
    shared, downloads = folder / _SHARED, folder / "downloads"
    debs = _download_debs(downloads / "debs")
    for deb in debs:
        _succeed(["dpkg", "-x", deb, shared], f"dpkg cannot unpack {deb.name}")
    wheels = _download_wheels(downloads / "wheels")
    for wheel in wheels:
        shutil.unpack_archive(wheel, shared / _WHEELS_FOLDER, "zip")
    for processor in _PROCESSORS:
        _add_processor(folder / processor.name, processor, shared)
    shutil.rmtree(downloads)
    return [file.stem for file in (*debs, *wheels)]


def _download_debs(folder):
    """Downloads the packages of another architecture by an apt of its own: the host's lists stay as they are."""
    state = folder / "apt"
    for place in ("lists/partial", "archives/partial"):
        (state / place).mkdir(parents=True)
    (state / "status").touch()
    apt = ["apt-get", "-q", "-oAPT::Architecture=arm64", "-oAPT::Architectures=arm64", "-oAPT::Sandbox::User=root"]
    apt += [f"-oDir::State={state}", f"-oDir::State::status={state}/status", f"-oDir::Cache={state}"]
    # Sources that have nothing for ARM are errors here and no harm: what is missing fails below.
    subprocess.run([*apt, "update"], capture_output=True)
    message = "apt-get cannot download the arm64 packages, which take the sources of Debian 12"
    _succeed([*apt, "download", *DEBS], message, folder)
    return sorted(folder.glob("*.deb"))


def _download_wheels(folder):
    platforms = [f"--platform={name}" for name in _PLATFORMS]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={PYTHON}", *platforms, f"--dest={folder}", *pinned_wheels()]
    _succeed(command, "pip cannot download the wheels for ARM")
    return sorted(folder.glob("*.whl"))


def _add_processor(root, processor, shared):
    """Makes the folder that QEMU sees as the root of a processor."""
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(
        f"processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: {processor.features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {processor.part}\nCPU revision\t: 0\n\n"
    )
    cpus = root / "sys/devices/system/cpu"
    cpus.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cpus / name).write_text("0\n")
    for entry in shared.iterdir():
        (root / entry.name).symlink_to(pathlib.Path("..", _SHARED, entry.name))


def _succeed(command, message, folder=None):
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", cwd=folder)
    if finished.returncode:
        raise UserError(f"{message} ({one_line(finished.stderr, 300)})")
