//! Finds the installed PostgreSQL, and the user it may run as.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What we need is in every version since; older ones are out of support.
const OLDEST: u32 = 14;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "PostgreSQL {OLDEST} or newer is not installed, and no DATABASE_URL is given.\n\
         Install it (Debian, Ubuntu):  apt-get install -y postgresql\n\
         or point LUMBUNG_POSTGRES_BIN at the directory that holds initdb and postgres,\n\
         or use a server of your own:  DATABASE_URL=postgres://user:password@host/database"
    )]
    Missing,
    #[error(
        "PostgreSQL {found} in {dir} is too old: {OLDEST} or newer is needed.\nInstall it (Debian, Ubuntu):  apt-get install -y postgresql"
    )]
    TooOld { found: u32, dir: PathBuf },
}

#[derive(Clone, Debug)]
pub struct Binaries {
    pub initdb: PathBuf,
    pub postgres: PathBuf,
}

/// The newest installation among LUMBUNG_POSTGRES_BIN (alone, when set), the usual places and PATH.
pub fn find() -> Result<Binaries, Error> {
    if let Some(dir) = std::env::var_os("LUMBUNG_POSTGRES_BIN") {
        return pick(vec![PathBuf::from(dir)]);
    }
    let mut dirs = versions_under(Path::new("/usr/lib/postgresql"), "bin");
    dirs.extend(versions_under(Path::new("/usr/local/opt"), "bin"));
    dirs.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    pick(dirs)
}

fn versions_under(parent: &Path, bin: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join(bin)).collect()
}

fn pick(dirs: Vec<PathBuf>) -> Result<Binaries, Error> {
    let found = dirs.into_iter().filter_map(|dir| Some((version(&dir)?, dir)));
    // PATH may name the newest again: the first of equals is as good as any.
    let Some((version, dir)) = found.max_by_key(|(version, _)| *version) else {
        return Err(Error::Missing);
    };
    if version < OLDEST {
        return Err(Error::TooOld { found: version, dir });
    }
    Ok(Binaries {
        initdb: dir.join("initdb"),
        postgres: dir.join("postgres"),
    })
}

/// The major version, when both programs are there and run.
fn version(dir: &Path) -> Option<u32> {
    if !dir.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

fn major(text: &str) -> Option<u32> {
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// User and group for a server that root starts: `postgres` where the package made it, else `nobody`.
pub fn unprivileged() -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].iter().find_map(|wanted| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (name == *wanted).then_some((uid, gid))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_distributions_print_them() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("postgres"), None);
    }

    #[test]
    fn nothing_installed_says_what_to_install() {
        let text = pick(vec![PathBuf::from("/nowhere")]).unwrap_err().to_string();
        assert!(
            text.contains("apt-get install -y postgresql") && text.contains("DATABASE_URL"),
            "{text}"
        );
    }
}
