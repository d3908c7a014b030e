-- fuzz_corpus_spec.lua -- the seed corpus of the fuzz targets: the tree has what the seeds say, and
-- every target has seeds.

local corpus = dofile("tests/fuzz/make_corpus.lua")

local function lines(command)
  local found = {}
  for line in io.popen(command):lines() do found[#found + 1] = line end
  return found
end

describe("the corpus of the fuzz targets", function()
  it("is what the seeds say", function()
    local expected = corpus.files()
    for _, path in ipairs(lines("find tests/fuzz/corpus -type f")) do
      local file <close> = assert(io.open(path, "rb"))
      assert.equal(expected[path], file:read("a"), path)
      expected[path] = nil
    end
    assert.same({}, expected)
  end)

  it("is small", function()
    for path, text in pairs(corpus.files()) do
      assert.is_true(#text <= 1024, path .. " has more bytes than libFuzzer reads")
    end
  end)

  it("has inputs for each target, and for no others", function()
    local targets = lines("ls tests/fuzz/fuzz_*.c | sed 's/.*fuzz_//; s/[.]c$//'")
    assert.same(targets, lines("ls tests/fuzz/seeds/*.lua | sed 's/.*\\///; s/[.]lua$//'"))
  end)

  it("has dictionaries only for targets", function()
    for _, name in ipairs(lines("ls tests/fuzz/dictionaries | sed 's/[.]dict$//'")) do
      assert.equal(1, #lines("ls tests/fuzz/fuzz_" .. name .. ".c"))
    end
  end)
end)
