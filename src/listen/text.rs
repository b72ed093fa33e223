//! Lists in headers.

/// The elements of all of a header's comma-separated lines, trimmed; lines that are not text are left out.
pub fn list<'h>(headers: &'h hyper::HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.into_iter().flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}
