//! The one binary; everything is in the library.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match lumbung::commands::run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lumbung: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
