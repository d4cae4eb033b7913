"""The files of a new project, as templates of `string.Template` (see `polyframe.cli.new`)."""
