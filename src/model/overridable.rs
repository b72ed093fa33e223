//! Bounds that `gateway.toml` sets for all apps and an app's file for itself: declared once.

/// Declares a struct of bounds with their defaults, and one of the same fields as options, which an app's file sets.
macro_rules! overridable {
    (
        $(#[doc = $whole:literal])+ $name:ident,
        $(#[doc = $own:literal])+ $override:ident,
        $($(#[doc = $doc:literal])+ $(#[schemars($($range:tt)*)])? $field:ident: $type:ty = $default:expr,)*
    ) => {
        $(#[doc = $whole])+
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ $(#[schemars($($range)*)])? pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> $name {
                $name { $($field: $default,)* }
            }
        }

        $(#[doc = $own])+
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $override {
            $($(#[doc = $doc])+ $(#[schemars($($range)*)])? pub $field: Option<$type>,)*
        }

        impl $name {
            /// These bounds, with what an app sets for itself.
            pub fn with(&self, own: &$override) -> $name {
                $name { $($field: own.$field.clone().unwrap_or_else(|| self.$field.clone()),)* }
            }
        }
    };
}
pub(crate) use overridable;
