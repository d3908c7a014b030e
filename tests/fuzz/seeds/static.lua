-- static.lua -- seeds of fuzz_static: paths below the folder, and out of it.

return {
  file = "a", index = "", folder = "b/", redirect = "b?x=1", blank = "a%20b", link = "l/",
  up = "../s", encoded_up = "%2e%2e/s", slash = "b%2f..%2f..%2fs", hidden = ".h",
  hidden_folder = ".d/a",
  link_up = "u", link_folder = "o/s", neighbour = "../ww/a",
  nul = "a%00", double = "//a", dot = "./a",
  well_known = ".well-known/x", backslash = "b\\..\\..\\s",
}
