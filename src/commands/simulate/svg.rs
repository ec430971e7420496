pub fn draw(_r: &super::report::Report) -> String { String::new() }
