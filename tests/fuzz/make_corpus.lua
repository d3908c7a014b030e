-- make_corpus.lua -- writes the seed corpus of the fuzz targets: small valid inputs, from which
-- libFuzzer goes on.
--
-- Run:  lua5.4 tests/fuzz/make_corpus.lua            in the top folder of the tree
--
-- Writes tests/fuzz/corpus/TARGET/NAME for each input of tests/fuzz/seeds/TARGET.lua, which returns
-- a table of names and texts. tests/lua/fuzz_corpus_spec.lua checks that the tree has exactly these
-- files. An input that libFuzzer has found and that is worth keeping goes into the seeds as well.

package.path = "tests/?.lua;" .. package.path

local corpus = {}

--- The inputs of all targets, by the path of their file.
---@return table<string, string>
function corpus.files()
  local files = {}
  for path in io.popen("ls tests/fuzz/seeds/*.lua"):lines() do
    local target = path:match("([%w_]+)%.lua$")
    for name, text in pairs(dofile(path)) do
      files[("tests/fuzz/corpus/%s/%s"):format(target, name)] = text
    end
  end
  return files
end

--- Writes them, and removes all others.
function corpus.write()
  assert(os.execute("rm -rf tests/fuzz/corpus"))
  for path, text in pairs(corpus.files()) do
    assert(os.execute(("mkdir -p '%s'"):format(path:match("^(.*)/"))))
    local file <close> = assert(io.open(path, "wb"))
    file:write(text)
  end
end

if arg and arg[0]:find("make_corpus%.lua$") then corpus.write() end

return corpus
