"""Everything this repository can do. `nox -l` lists it, `nox -s NAME -- ARGUMENTS` runs it."""

import os
import ssl
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]

# Trust the certificates that this machine trusts, as pip does; some networks have their own.
if ssl.create_default_context().cert_store_stats()["x509_ca"]:
    os.environ.setdefault("UV_SYSTEM_CERTS", "1")

# What each hashed requirements file is compiled from: extras of jobq, then dependency groups.
REQUIREMENTS = {
    "tests": (["all"], ["test"]),
    "types": (["all"], ["types"]),
    "docs": (["all"], ["docs"]),
    "demo": (["postgres"], ["demo"]),
    "lint": (None, ["lint"]),
    "nox": (None, ["nox"]),
    "audit": (None, ["audit"]),
    "browser": (["all"], ["test", "browser"]),
    "openapi": (["all"], ["test", "openapi"]),
    "examples": (["all"], ["test", "examples"]),
}

# What `sdks` tries, always in current versions. litellm holds the others back, so it goes alone.
SDKS = {
    "providers": (
        "aiohttp anthropic boto3 fal-client google-genai httpx httpx2 openai replicate requests "
        "tenacity"
    ),
    "litellm": "litellm",
    "fakegemini": "aiohttp anthropic google-genai openai",
}


def install(session: nox.Session, requirements: str, *, project: bool = True) -> None:
    session.install("-r", f"requirements/{requirements}.txt")
    if project:
        session.install("--no-deps", "-e", ".")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the image example (on DATABASE_URL, if that is set)."""
    install(session, "demo")
    session.run("python", "-m", "examples.image_edit", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on SQLite and PostgreSQL."""
    install(session, "tests")
    session.run("pytest", "-n", "4", "--dist", "worksteal", *session.posargs)


@nox.session
def pooler(session: nox.Session) -> None:
    """Run the checks behind PgBouncer (the program `pgbouncer` must be installed)."""
    install(session, "tests")
    session.run("pytest", "tests/pooler/check_pgbouncer.py", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and report the lines and branches they miss."""
    install(session, "tests")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-n", "2", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the import rules."""
    install(session, "lint", project=False)
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright."""
    install(session, "types")
    session.install("-r", "requirements/demo.txt")
    session.run("mypy", "--strict", "jobq", "examples", "tests/typing")
    session.run("pyright", "tests/typing")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs; a warning is an error."""
    install(session, "docs")
    session.install("-r", "requirements/browser.txt")
    take_pictures(session)
    session.run("sphinx-build", "-W", "--keep-going", "docs", "build/docs", *session.posargs)


def take_pictures(session: nox.Session) -> None:
    """Have the browser look at the dashboard, and leave the pictures that the pages show."""
    folder = Path(__file__).parent / "docs" / "_pictures"
    folder.mkdir(exist_ok=True)
    checks = ["--override-ini", "python_files=check_*.py", "tests/browser/check_dashboard.py"]
    which = ["-k", "fits_a_phone and fastapi"]
    session.run("pytest", *checks, *which, env={"JOBQ_SCREENSHOTS": str(folder)})


@nox.session
@nox.parametrize("postgres", ["15", "newest"])
@nox.parametrize("sqlalchemy", ["2.0.40", "newest"])
@nox.parametrize("python", ["3.11", "3.12", "3.13"])
def matrix(session: nox.Session, sqlalchemy: str, postgres: str) -> None:
    """Run the tests over the supported Python, SQLAlchemy and PostgreSQL versions."""
    bindir = None if postgres == "newest" else f"/usr/lib/postgresql/{postgres}/bin"
    if bindir and not Path(bindir).is_dir():
        session.error(f"{bindir} is missing: install Debian's postgresql-{postgres}")
    install(session, "tests")
    if sqlalchemy != "newest":
        session.install(f"sqlalchemy=={sqlalchemy}")
    env = {"JOBQ_TEST_POSTGRES_URL": None, "JOBQ_TEST_POSTGRES_BINDIR": bindir}
    session.run("pytest", "-n", "2", *session.posargs, env=env)


@nox.session(python="3.12")
@nox.parametrize("what", ["providers", "litellm", "fakegemini"])
def sdks(session: nox.Session, what: str) -> None:
    """Try the real SDKs of providers against fake ones, and classify what they raise."""
    install(session, "tests")
    session.install("--upgrade", *SDKS[what].split())
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    # SDKs leave sockets open, and warn about themselves.
    session.run(
        "pytest", "-W", "ignore", f"tests/sdks/check_{what}.py", *session.posargs, env=offline
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure jobq beside bare drivers and other queues (`-- --quick`, `-- drain postgresql`)."""
    install(session, "tests")
    session.install("uv")
    # Without cached bytecode, start-up times would be several times those of users.
    session.run(
        "python",
        "-m",
        "benchmarks",
        "--environments",
        session.create_tmp(),
        *session.posargs,
        env={"PYTHONDONTWRITEBYTECODE": None},
    )


@nox.session
def faults(session: nox.Session) -> None:
    """Kill workers and databases under load, and count what is lost."""
    install(session, "tests")
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def simulator(session: nox.Session) -> None:
    """Play 20,000 seeds of the simulator, or as many as are given (`-- 1000`)."""
    install(session, "tests")
    session.run("python", "-m", "tests.simulator", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Break one promise after the other in a copy, and see which test finds it."""
    install(session, "tests")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Play jobs and faults for an hour (`-- sqlite`, `-- postgresql`); see what they leave."""
    install(session, "tests")
    session.run("python", "-m", "tests.faults.soak", *session.posargs)


@nox.session
def rivals(session: nox.Session) -> None:
    """Play the same faults on jobq and on other Python job queues, side by side."""
    install(session, "tests")
    session.install("uv")
    session.run(
        "python", "-m", "tests.rivals", "--environments", session.create_tmp(), *session.posargs
    )


@nox.session
def limits(session: nox.Session) -> None:
    """Measure limits over real processes: their bounds, their use and their cost."""
    install(session, "tests")
    session.run("python", "-m", "tests.limits", *session.posargs)


@nox.session
def paid(session: nox.Session) -> None:
    """Strike workers between and within paid calls, and read the provider's bill."""
    install(session, "tests")
    session.run("python", "-m", "tests.paid", *session.posargs)


@nox.session
def security(session: nox.Session) -> None:
    """Check what SECURITY.md promises, with many more examples than the tests take."""
    install(session, "tests")
    more = {"JOBQ_EXAMPLES": "1000"}
    session.run("pytest", "tests/security", "-n", "2", "--timeout=600", *session.posargs, env=more)


@nox.session
def contract(session: nox.Session) -> None:
    """Try HTTP, Django and real processes on all adapters and databases, not on one each."""
    install(session, "tests")
    every = {"JOBQ_EVERY_PAIR": "1"}
    session.install("gunicorn>=23")
    checks = ("tests/django/check_gunicorn.py", "tests/contract/check_dashboard_plans.py")
    where = ("tests/contract", "tests/django", "tests/processes", "tests/cli", *checks)
    session.run("pytest", *where, "-n", "3", "--dist", "worksteal", *session.posargs, env=every)


@nox.session
@nox.parametrize(
    "python,version", [("3.11", "5.2"), ("3.12", "5.2"), ("3.12", "6.0"), ("3.13", "6.1")]
)
def django(session: nox.Session, version: str) -> None:
    """Run the tests of the Django adapter over the supported Django versions."""
    install(session, "tests")
    session.install(f"django=={version}.*", *(["django-tasks>=0.12"] if version == "5.2" else []))
    session.run("pytest", "tests/django", "tests/contract", "-k", "django", *session.posargs)


@nox.session(python="3.11")
def floors(session: nox.Session) -> None:
    """Run the tests of the FastAPI and Starlette adapters on the oldest versions they allow."""
    install(session, "tests")
    session.install("fastapi==0.115.3", "starlette==0.40.0")
    # That Starlette's test client knows an older anyio.
    older = ("-W", "ignore:The anyio:DeprecationWarning")
    what = ("tests/contract", "-k", "fastapi or starlette or lifespan")
    session.run("pytest", *older, *what, *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Drive pages in a real browser (Debian's `chromium`, or the one that JOBQ_CHROMIUM names)."""
    install(session, "browser")
    checks = ["--override-ini", "python_files=check_*.py", "tests/browser"]
    session.run("pytest", *checks, *session.posargs)


@nox.session
def openapi(session: nox.Session) -> None:
    """Send the HTTP API what its OpenAPI document allows, and what it does not."""
    install(session, "openapi")
    session.run("pytest", "tests/contract/check_openapi.py", "--timeout=600", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build the distributions, look into them, and try each extra alone (`-- http s3`)."""
    session.install("uv")
    environments = ("--environments", session.create_tmp())
    session.run("python", "-m", "tests.release", *environments, *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Check the five example systems, also with limits and fence broken (needs curl)."""
    install(session, "examples")
    session.run("pytest", "tests/examples/check_systems.py", "--timeout=300", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Look the locked versions up in a database of known vulnerabilities, over the network."""
    install(session, "audit", project=False)
    files = (f"--requirement=requirements/{name}.txt" for name in REQUIREMENTS)
    command = ["pip-audit", "--strict", "--disable-pip", "--require-hashes"]
    command += ["--progress-spinner=off", "--vulnerability-service=osv"]
    session.run(*command, *files, *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    """Rewrite requirements/*.txt from pyproject.toml (add `-- --upgrade` for newer versions)."""
    session.install("uv")
    for name, (extras, groups) in REQUIREMENTS.items():
        project = [] if extras is None else ["pyproject.toml", *(f"--extra={e}" for e in extras)]
        shared = [] if name == "tests" else ["--constraints=requirements/tests.txt"]
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version=3.11"]
        command += ["--generate-hashes", "--no-annotate", "--no-header"]
        command += [f"--output-file=requirements/{name}.txt", *project, *shared]
        session.run(*command, *(f"--group={group}" for group in groups), *session.posargs)
