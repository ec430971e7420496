//! `lumbung admin`: the first admin's account, and a pair of keys.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::clock::Ambient;
use crate::config;
use crate::db;
use crate::db::embedded::Embedded;
use crate::identity::admin::{Outcome, create_admin};
use crate::identity::password::{Cost, Hasher, Password};
use crate::keys::Keys;

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Create an admin's account; saying it twice does no harm
    Create(Create),
    /// Make a signing key and an encryption key as files (never overwrites)
    Keys {
        /// The directory to write signing.pem and encryption.keys into.
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(clap::Args, Debug)]
struct Create {
    #[arg(long)]
    email: String,
    /// File that holds the password, `-` for standard input; without it one is generated and shown once.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// If the account exists and is a customer's, make it an admin's.
    #[arg(long)]
    promote: bool,
    #[command(flatten)]
    database: config::Database,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Create(create) => run_create(create).await,
        Command::Keys { dir } => {
            Keys::load_or_generate(&dir, &Ambient::system())?;
            println!(
                "{}/signing.pem and {}/encryption.keys are there. Back them up: without the second, customers'",
                dir.display(),
                dir.display()
            );
            println!("credentials cannot be opened by anybody.");
            Ok(())
        }
    }
}

async fn run_create(create: Create) -> anyhow::Result<()> {
    let ambient = Ambient::system();
    let password = create.password_file.map(read_password).transpose()?;
    // Beside a running server its database is used; otherwise one is started for as long as this takes.
    let beside = create
        .database
        .database_url
        .is_none()
        .then(|| Embedded::running(&create.database.state_dir()))
        .flatten();
    let (embedded, url) = match beside {
        Some(url) => (None, url),
        None => super::serve::database(&create.database, &ambient).await?,
    };
    db::migrate(&url).await?;
    let pool = db::connect(&db::Settings {
        url,
        max_connections: 4,
    })
    .await?;
    let hasher = Hasher::new(Cost::STANDARD, &ambient.entropy)?;
    let outcome = create_admin(&pool, &ambient, &hasher, &create.email, password, create.promote).await;
    pool.close().await;
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    match outcome? {
        Outcome::Created {
            generated: Some(password),
            ..
        } => {
            println!(
                "{} is an admin. Password, shown only now: {}",
                create.email,
                password.expose()
            );
        }
        Outcome::Created { generated: None, .. } => println!("{} is an admin.", create.email),
        Outcome::Promoted { .. } => println!("{} is an admin now; the password stays what it was.", create.email),
        Outcome::AlreadyAdmin { .. } => println!("{} is an admin already; nothing was changed.", create.email),
    }
    Ok(())
}

fn read_password(path: PathBuf) -> anyhow::Result<Password> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    }
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("the password is empty");
    }
    Ok(Password::new(text))
}
