//! Members that do not reach each other: links are cut in both directions or in one, for long or again and again, and heal.

mod flapping;
mod founding;
mod halves;
mod one_way;
mod rotating;
mod scene;
mod symmetric;
