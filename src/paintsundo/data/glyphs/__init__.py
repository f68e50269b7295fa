"""Characters in the order in which people write them: KanjiVG's lines and hanzi-writer's outlined strokes."""
