"""The views of analysts, by what they are about. `storage.analytics_views` lists them and puts them into the file."""
