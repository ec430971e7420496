pub fn run(_: &crate::tasks::Context, _: &mut crate::report::Report) -> anyhow::Result<()> {
    Ok(())
}
