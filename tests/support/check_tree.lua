-- check_tree.lua -- runs a check of the source (scripts/check_*.lua) on a small tree in a temporary
-- folder.

--- Writes the tree, runs the check, removes the tree.
---@param script string               "scripts/check_files.lua"
---@param tree table<string, string>  text by path
---@return boolean good
---@return string output
return function(script, tree)
  local top = os.tmpname()
  os.remove(top)
  for path, text in pairs(tree) do
    local full = top .. "/" .. path
    assert(os.execute(("mkdir -p '%s'"):format(full:match "(.*)/")))
    local file <close> = assert(io.open(full, "w"))
    file:write(text)
  end
  -- A sanitizer that is loaded for the sake of C modules has no business in the shell's tools.
  local command = ("env -u LD_PRELOAD lua5.4 %s '%s' 2>&1"):format(script, top)
  local pipe = assert(io.popen(command))
  local output = pipe:read "a"
  local good = pipe:close() == true
  os.execute(("rm -r '%s'"):format(top))
  return good, output
end
