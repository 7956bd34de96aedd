//! Shows what becomes of files: receipt, blocks or chunks.
//!
//! ```sh
//! cargo run -p tunesmith-text --example show -- FILE...
//! ```

use std::path::Path;

use tunesmith_text::{ChunkOptions, Words, chunk, load, read};

fn main() {
    for path in std::env::args().skip(1) {
        let path = Path::new(&path);
        match load(path).and_then(|bytes| read(path, &bytes)) {
            Err(error) => println!("{}: {error}", path.display()),
            Ok(document) => {
                let (receipt, title) =
                    (&document.receipt, document.title.as_deref().unwrap_or("no title"));
                println!("{}: {}, {title}, {receipt:?}", path.display(), document.format);
                for chunk in
                    chunk(&document.text, &document.blocks, &ChunkOptions::default(), &Words)
                {
                    let place = chunk.heading_path.join(" > ");
                    println!(
                        "--- {:?} {} tokens | {place}\n{}",
                        chunk.span,
                        chunk.tokens,
                        chunk.text(&document.text)
                    );
                }
            }
        }
    }
}
