// The pipeline, beat by beat and cycle by cycle, without any data: who has something to give, who takes it.
//
// Components are joined by wires with a valid and a ready bit. A cycle has three passes: valid bits, from the input to
// the output; ready bits, back; then every component moves on. What each component does is said in
// accel/dataflow/tokens.py, which writes the program that is read here, and in the gateware (accel/rtl).

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

using Int = int64_t;

struct Wire {
    bool valid = false, ready = false;
    Int count = 0, beats = 1, first = -1, last = -1;  // beats handed over; when those of the first frame were
    std::vector<Int> ends;                            // when the last beat of each frame was
    bool moves() const { return valid && ready; }
};

struct Reader {
    const Int *at;
    Int next() { return *at++; }
    std::vector<Int> list() {
        Int n = next();
        std::vector<Int> found(at, at + n);
        at += n;
        return found;
    }
};

struct Component {
    std::vector<Wire *> in, out;
    virtual ~Component() = default;
    virtual void offer(Int now) = 0;   // valid of the outputs
    virtual void accept(Int now) = 0;  // ready of the inputs
    virtual void advance(Int now) = 0;
    virtual Int mark() const { return 0; }  // the most that was held
};

// A FIFO behind a pipeline that cannot stop: work borrows places when it begins, output beats give them back.
struct Lending {
    Int places, spare, beats;
    std::deque<Int> leaving;
    void setup(Int all, Int each) { places = all, beats = each, spare = all - each; }
    bool free() const { return spare >= 0; }
    bool valid(Int now) const { return !leaving.empty() && leaving.front() <= now; }
    void advance(bool taken, bool given) { advance(taken ? beats : 0, given); }
    void advance(Int taken, bool given) {
        spare += (given ? 1 : 0) - taken;
        if (given) leaving.pop_front();
    }
};

struct Source : Component {
    Int left;
    explicit Source(Reader &r) : left(r.next()) {}
    void offer(Int) override { out[0]->valid = left > 0; }
    void accept(Int) override {}
    void advance(Int) override { left -= out[0]->moves(); }
};

struct Sink : Component {
    explicit Sink(Reader &) {}
    void offer(Int) override {}
    void accept(Int) override { in[0]->ready = true; }
    void advance(Int) override {}
};

struct Fifo : Component {
    Int depth, latency, held = 0, most = 0;
    std::deque<Int> times;
    explicit Fifo(Reader &r) : depth(r.next()), latency(r.next()) {}
    void offer(Int now) override { out[0]->valid = !times.empty() && times.front() <= now; }
    void accept(Int) override { in[0]->ready = held < depth; }
    void advance(Int now) override {
        if (out[0]->moves()) times.pop_front(), held--;
        if (in[0]->moves()) times.push_back(now + latency), held++;
        if (held > most) most = held;
    }
    Int mark() const override { return most; }
};

struct Fork : Component {
    std::vector<bool> had;
    explicit Fork(Reader &r) : had(r.next(), false) {}
    void offer(Int) override {
        for (size_t i = 0; i < had.size(); i++) out[i]->valid = in[0]->valid && !had[i];
    }
    void accept(Int) override {
        bool all = true;
        for (size_t i = 0; i < had.size(); i++) all = all && (had[i] || out[i]->ready);
        in[0]->ready = all;
    }
    void advance(Int) override {
        if (!in[0]->valid) return;
        bool done = in[0]->ready;
        for (size_t i = 0; i < had.size(); i++) had[i] = !done && (had[i] || out[i]->ready);
    }
};

// Takes beats by a fixed program; some of them make an output beat that leaves a number of cycles later.
struct Flow : Component {
    enum { BORROW = 1, EMIT = 2 };
    Int latency, step = 0;
    bool joint, now_taken = false;
    std::vector<Int> steps;
    Lending results;
    explicit Flow(Reader &r) {
        latency = r.next();
        results.setup(r.next(), 1);
        joint = r.next();
        steps = r.list();
    }
    void offer(Int now) override { out[0]->valid = results.valid(now); }
    void accept(Int) override {
        bool can = !(steps[step] & BORROW) || results.free();
        bool there = true;
        for (Wire *wire : in) there = there && wire->valid;
        now_taken = can && there;
        for (Wire *wire : in) wire->ready = joint ? now_taken : can;
    }
    void advance(Int now) override {
        bool given = out[0]->moves();
        results.advance(now_taken && (steps[step] & BORROW), given);
        if (!now_taken) return;
        if (steps[step] & EMIT) results.leaving.push_back(now + latency);
        if (++step == Int(steps.size())) step = 0;
    }
};

// Gives a beat in the cycle in which it is there, by a fixed program: which input it is of, or none, and whether that
// input's beat is done with.
struct Pass : Component {
    Int step = 0;
    std::vector<Int> steps;  // 2 * input + (1 if taken), or -1
    explicit Pass(Reader &r) : steps(r.list()) {}
    void offer(Int) override {
        Int what = steps[step];
        out[0]->valid = what < 0 || in[what >> 1]->valid;
    }
    void accept(Int) override {
        for (Wire *wire : in) wire->ready = false;
        Int what = steps[step];
        if (what >= 0 && (what & 1)) in[what >> 1]->ready = out[0]->ready;
    }
    void advance(Int) override {
        if (out[0]->moves() && ++step == Int(steps.size())) step = 0;
    }
};

struct Repack : Component {
    Int takes, gives, taken_beat, given_beat, level = 0, taken = 0, given = 0;
    bool stored = false, joined = false;
    explicit Repack(Reader &r) : takes(r.next()), gives(r.next()), taken_beat(r.next()), given_beat(r.next()) {}
    void offer(Int) override {
        stored = level >= given_beat || taken == takes;
        joined = level + taken_beat >= given_beat || taken == takes - 1;
        out[0]->valid = stored || (in[0]->valid && joined);
    }
    void accept(Int) override { in[0]->ready = !stored && (out[0]->ready || !joined); }
    void advance(Int) override {
        bool took = in[0]->moves(), gave = out[0]->moves();
        if (stored) {
            if (gave) level -= given_beat;
        } else if (took && joined) {
            level = level + taken_beat > given_beat ? level + taken_beat - given_beat : 0;
        } else if (took) {
            level += taken_beat;
        }
        taken += took;
        if (gave && ++given == gives) taken = given = level = 0;
    }
};

// A line buffer and what reads it, window by window, in steps.
struct Window : Component {
    Int capacity, tiles, each, beats, beats_last, latency, release, image;
    std::vector<Int> needs, gone;  // of each output pixel, in beats
    Int accepted = 0, freed = 0, most = 0, frame = 0, pixel = 0, tile = 0, step = 0, vacant = 0;
    std::deque<std::pair<Int, Int>> freeing;
    bool issue = false;
    Lending results;
    explicit Window(Reader &r) {
        capacity = r.next(), tiles = r.next(), each = r.next(), beats = r.next(), beats_last = r.next();
        latency = r.next();
        results.setup(r.next(), beats);
        release = r.next(), image = r.next();
        needs = r.list(), gone = r.list();
    }
    void offer(Int now) override { out[0]->valid = results.valid(now); }
    void accept(Int now) override {
        while (!freeing.empty() && freeing.front().first <= now) freed = freeing.front().second, freeing.pop_front();
        in[0]->ready = accepted - freed < capacity;
        issue = step > 0 || tile > 0 || accepted >= frame * image + needs[pixel];
        if (step == each - 1) issue = issue && now >= vacant && results.free();
    }
    void advance(Int now) override {
        bool ends = issue && step == each - 1;
        Int gives = tile == tiles - 1 ? beats_last : beats;
        results.advance(ends ? gives : 0, out[0]->moves());
        if (in[0]->moves()) {
            accepted++;
            if (accepted - freed > most) most = accepted - freed;
        }
        if (!issue) return;
        if (!ends) {
            step++;
            return;
        }
        for (Int i = 0; i < gives; i++) results.leaving.push_back(now + latency + i);
        vacant = now + gives, step = 0;
        if (++tile < tiles) return;
        tile = 0;
        freeing.push_back({now + release, frame * image + gone[pixel]});
        if (++pixel == Int(needs.size())) pixel = 0, frame++;
    }
    Int mark() const override { return most; }
};

// A row is held until it has been given often enough.
struct Upsample : Component {
    Int places, per_pixel, rows_again, columns_again, latency;
    Int level = 0, pixel = 0, beat = 0, column = 0, row = 0;
    bool read = false, frees = false;
    Lending results;
    explicit Upsample(Reader &r) {
        places = r.next(), per_pixel = r.next(), rows_again = r.next(), columns_again = r.next(), latency = r.next();
        results.setup(r.next(), 1);
    }
    void offer(Int now) override { out[0]->valid = results.valid(now); }
    void accept(Int) override {
        bool row_last = row == rows_again - 1, column_last = column == columns_again - 1;
        Int behind = row_last ? (column_last ? 0 : beat) : pixel + beat;
        in[0]->ready = level != places;
        read = level > behind && results.free();
        frees = read && row_last && column_last;
    }
    void advance(Int now) override {
        results.advance(read, out[0]->moves());
        level += in[0]->moves() - frees;
        if (!read) return;
        results.leaving.push_back(now + latency);
        if (++beat < per_pixel) return;
        beat = 0;
        if (++column < columns_again) return;
        column = 0, pixel += per_pixel;
        if (pixel < places) return;
        pixel = 0;
        if (++row == rows_again) row = 0;
    }
};

struct TopK : Component {
    Int elements, k, latency, index = 0, left = 0, copied = -1;
    bool busy = false;
    explicit TopK(Reader &r) : elements(r.next()), k(r.next()), latency(r.next()) {}
    void offer(Int) override { out[0]->valid = left != 0; }
    void accept(Int) override { in[0]->ready = !(index == elements - 1 && busy); }
    void advance(Int now) override {
        bool taken = in[0]->moves(), given = out[0]->moves(), ends = taken && index == elements - 1;
        bool done = given && left == 1;
        if (taken) index = index == elements - 1 ? 0 : index + 1;
        if (copied == now) left = k;
        else if (given) left--;
        busy = (busy && !done) || ends;
        if (ends) copied = now + latency - 1;
    }
};

// Dense layers in turn on one array: fill, issue, arithmetic, drain (accel/rtl/array.py).
struct DenseArray : Component {
    Int layers, lanes, drain, simd, arithmetic, per_row;
    std::vector<Int> beats, tiles, rows, groups, latency;
    Int fill_layer = 0, beat = 0, filled = 0, ahead = 0;
    Int layer = 0, neuron = 0, tile = 0;
    bool finishing = false, issue = false, fetch = false;
    Int drain_layer = 0, drain_row = 0, group = 0, finished = 0;
    std::deque<Int> sums, drained;  // when finished rows come, and results for the next layer
    Lending results;
    explicit DenseArray(Reader &r) {
        layers = r.next(), lanes = r.next(), drain = r.next(), simd = r.next(), arithmetic = r.next();
        per_row = r.next();
        results.setup(r.next(), 1);
        beats = r.list(), tiles = r.list(), rows = r.list(), groups = r.list(), latency = r.list();
    }
    bool ends() const { return drain_layer == layers - 1; }
    void offer(Int now) override { out[0]->valid = results.valid(now); }
    void accept(Int) override {
        in[0]->ready = fill_layer == 0 && ahead <= 1;
        bool step_last = tile == tiles[layer] - 1;
        issue = (ahead != 0 || filled >= (tile + 1) * simd) && !(step_last && neuron == 0 && finishing);
        fetch = finished != 0 && (!ends() || results.free());
    }
    void advance(Int now) override {
        bool streamed = in[0]->moves(), back = !drained.empty() && drained.front() == now;
        if (back) drained.pop_front();
        bool fill_last = (streamed || back) && beat == beats[fill_layer] - 1;
        if (fill_last) beat = filled = 0, fill_layer = (fill_layer + 1) % layers;
        else if (streamed || back) beat++, filled += back ? drain : lanes;

        bool step_last = tile == tiles[layer] - 1, row_last = neuron == rows[layer] - 1;
        bool layer_issued = issue && step_last && row_last;
        bool arrived = !sums.empty() && sums.front() == now;
        if (arrived) sums.pop_front();
        if (issue && step_last) sums.push_back(now + arithmetic);
        if (issue) {
            neuron++;
            if (row_last) neuron = 0, tile++;
            if (layer_issued) tile = 0, layer = (layer + 1) % layers;
        }
        ahead += fill_last - layer_issued;

        bool row_ends = drain_row == Int(rows[drain_layer]) - 1;
        Int last_group = row_ends ? groups[drain_layer] - (rows[drain_layer] - 1) * per_row - 1 : per_row - 1;
        bool group_last = group == last_group, layer_drained = fetch && group_last && row_ends;
        results.advance(fetch && ends(), out[0]->moves());
        if (fetch && ends()) results.leaving.push_back(now + latency[drain_layer] + 1);
        else if (fetch) drained.push_back(now + latency[drain_layer] - 1);
        if (issue && step_last) finishing = true;
        else if (layer_drained) finishing = false;
        finished += arrived - (fetch && group_last);
        if (fetch) {
            group++;
            if (group_last) group = 0, drain_row++;
            if (layer_drained) drain_row = 0, drain_layer = (drain_layer + 1) % layers;
        }
    }
};

static Component *make(Int kind, Reader &r) {
    switch (kind) {
        case 0: return new Source(r);
        case 1: return new Sink(r);
        case 2: return new Fifo(r);
        case 3: return new Fork(r);
        case 4: return new Flow(r);
        case 5: return new Pass(r);
        case 6: return new Repack(r);
        case 7: return new Window(r);
        case 8: return new Upsample(r);
        case 9: return new TopK(r);
        default: return new DenseArray(r);
    }
}

// program: wires, the beats of a frame of each; components, of each its kind, wires in, wires out, what it reads.
// times: for each wire the times of the first and of the last beat of the first frame, its valid and its ready at the
// end. ends: when the output's last beat of each frame was. marks: the most that each component held.
// Returns 0; 1 when nothing moved for `patience` cycles; 2 when it took longer than `limit`.
extern "C" int simulate(const Int *program, Int frames, Int patience, Int limit, Int *times, Int *ends, Int *marks) {
    Reader r{program};
    std::vector<Wire> wires(r.next());
    for (Wire &wire : wires) wire.beats = r.next();
    std::vector<std::unique_ptr<Component>> components(r.next());
    Wire *output = nullptr;
    for (auto &component : components) {
        Int kind = r.next();
        std::vector<Int> in = r.list(), out = r.list();
        component.reset(make(kind, r));
        for (Int i : in) component->in.push_back(&wires[i]);
        for (Int i : out) component->out.push_back(&wires[i]);
        if (kind == 1) output = component->in[0];
    }
    int status = 0;
    Int quiet = 0;
    for (Int now = 0; Int(output->ends.size()) < frames; now++) {
        for (auto &component : components) component->offer(now);
        for (auto it = components.rbegin(); it != components.rend(); ++it) (*it)->accept(now);
        bool moved = false;
        for (Wire &wire : wires) {
            if (!wire.moves()) continue;
            moved = true;
            if (wire.count == 0) wire.first = now;
            if (++wire.count == wire.beats) wire.last = now;
            if (wire.count % wire.beats == 0 && &wire == output) wire.ends.push_back(now);
        }
        for (auto &component : components) component->advance(now);
        quiet = moved ? 0 : quiet + 1;
        if (quiet > patience) {
            status = 1;
            break;
        }
        if (now > limit) {
            status = 2;
            break;
        }
    }
    for (size_t i = 0; i < wires.size(); i++) {
        Int *at = times + 4 * i;
        at[0] = wires[i].first, at[1] = wires[i].last, at[2] = wires[i].valid, at[3] = wires[i].ready;
    }
    for (size_t i = 0; i < output->ends.size(); i++) ends[i] = output->ends[i];
    for (size_t i = 0; i < components.size(); i++) marks[i] = components[i]->mark();
    return status;
}
