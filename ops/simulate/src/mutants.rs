//! With the feature `mutants`: rules left out on purpose, each with the first seed that notices.

use mutant::Mutant;
use simulate::Hunt;

use super::{Options, Search};

/// As the options ask: seeds with all rules, with one left out, or a table of all that can be left out.
pub(crate) fn search(options: Options) -> Result<bool, String> {
    match &options.mutant {
        Some(name) => {
            let planted = Mutant::named(name).ok_or_else(|| format!("no mutant is called {name:?}"))?;
            mutant::with(Some(planted), || Search::new(options).run())
        }
        None if options.mutants => Ok(table(&options)),
        None => Search::new(options).run(),
    }
}

/// True: all were found.
fn table(options: &Options) -> bool {
    let mut missed = 0;
    println!("| mutant | what is wrong with it | seed | seeds tried | what notices |\n|---|---|---|---|---|");
    for planted in Mutant::ALL {
        let (name, breaks) = (planted.name(), planted.breaks());
        match Hunt::new(*planted, options.first, options.seeds).run() {
            Ok(found) => {
                println!("| `{name}` | {breaks} | {} | {} | {} |", found.seed, found.tried, found.rule());
            }
            Err(tried) => {
                missed += 1;
                println!("| `{name}` | {breaks} | | {tried} | nothing |");
            }
        }
    }
    missed == 0
}
