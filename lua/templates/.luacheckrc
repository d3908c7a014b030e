-- How luacheck reads this app's code.
std = "lua54"
-- A hook has the arguments its caller gives it, used or not.
unused_args = false
exclude_files = { "types", "lua_modules" }
files["spec"] = { std = "+busted" }
