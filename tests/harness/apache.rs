//! Apache RocketMQ's own servers, where Java and Maven are: `apache/Apache.java` starts them as Gantry is started.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The release that `apache/pom.xml` names.
pub const RELEASE: &str = "5.3.3";

/// Its jars, from Maven's registry, and classes of ours beside them.
#[derive(Debug)]
pub struct Apache {
    dir: PathBuf,
}

impl Apache {
    /// Fetches and compiles into the directory what is not there yet; 91 MB. `Err`: what it needs, or what went wrong.
    pub fn build(dir: &Path) -> Result<Apache, String> {
        let answers = |program: &str| {
            let asked = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        if let Some(missing) = ["java", "javac", "mvn"].into_iter().find(|program| !answers(program)) {
            return Err(format!("needs Java 17 and Maven ({missing} is missing)"));
        }
        let apache = Apache { dir: dir.to_path_buf() };
        fs::create_dir_all(apache.classes()).map_err(|error| format!("{}: {error}", dir.display()))?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/apache");
        let (pom, fetched) = (sources.join("pom.xml"), dir.join("pom.xml"));
        let wanted = fs::read(&pom).map_err(|error| format!("{}: {error}", pom.display()))?;
        if fs::read(&fetched).ok().as_ref() != Some(&wanted) {
            let mut maven = Command::new("mvn");
            maven.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"]);
            run(maven.arg(pom).arg(format!("-DoutputDirectory={}", apache.jars().display())))?;
            fs::write(fetched, wanted).map_err(|error| error.to_string())?;
        }
        apache.compile(&sources.join("Apache.java"))?;
        Ok(apache)
    }

    pub fn compile(&self, source: &Path) -> Result<(), String> {
        let mut javac = Command::new("javac");
        run(javac.args(["-nowarn", "-cp", &self.class_path(), "-d"]).arg(self.classes()).arg(source))
    }

    pub fn class_path(&self) -> String {
        format!("{}/*:{}", self.jars().display(), self.classes().display())
    }

    /// A program that takes Gantry's flags and says that it is ready as Gantry does; each set of options has its own.
    pub fn program(&self, name: &str, java_options: &str) -> Result<PathBuf, String> {
        let path = self.dir.join(name);
        let script = format!("#!/bin/sh\nexec java {java_options} -cp '{}' Apache \"$@\"\n", self.class_path());
        let written = fs::write(&path, script).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn jars(&self) -> PathBuf {
        self.dir.join("jars")
    }

    fn classes(&self) -> PathBuf {
        self.dir.join("classes")
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&said)))
}
