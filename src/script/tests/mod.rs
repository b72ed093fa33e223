mod calls;
mod support;
