-- How luacheck reads the Lua code of this tree.
std = "lua54"
max_line_length = 100
-- A hook has the arguments its caller gives it, used or not.
unused_args = false
exclude_files = { "build", "lua_modules", "node_modules" }

-- Type files only declare.
files["lua/types"] = { ignore = { "1..", "2..", "631" } }

files["**/*_spec.lua"] = { std = "+busted" }
files["tests/support"] = { std = "+busted" }
files["tests/fixtures"] = { std = "lua54" }
files["src/cluster/scripts"] = {
  std = "lua51", read_globals = { "redis", "KEYS", "ARGV", "struct" },
}
