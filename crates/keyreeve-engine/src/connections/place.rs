//! Where what is kept of connections is looked up.

use keyreeve_core::name::ProjectName;
use papaya::Equivalent;

/// A project and the name of one of its connections.
pub type Place = (ProjectName, String);

/// A place by reference: it is looked up for each call, so no text is made for that.
#[derive(Hash)]
pub struct PlaceRef<'a>(pub &'a ProjectName, pub &'a str);

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, (project, name): &Place) -> bool {
        self.0 == project && self.1 == name
    }
}
