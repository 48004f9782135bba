// Solves a round of clearing with LEMON's cost scaling, to compare carecircle with: of standard input, "circles
// obligations" and then a line "debtor creditor minutes" for each obligation, circles by number from 0. It
// prints the minutes set off, and the milliseconds that each of three runs took, from the list of obligations
// in memory to the minutes of each.
#include <chrono>
#include <cstdio>
#include <vector>

#include <lemon/cost_scaling.h>
#include <lemon/smart_graph.h>

struct Obligation {
  int from, to;
  long long minutes;
};

int main() {
  using Graph = lemon::SmartDigraph;
  int circles, obligations;
  if (std::scanf("%d %d", &circles, &obligations) != 2) return 1;
  std::vector<Obligation> all(obligations);
  for (Obligation& o : all)
    if (std::scanf("%d %d %lld", &o.from, &o.to, &o.minutes) != 3) return 1;
  for (int run = 0; run < 3; run++) {
    auto began = std::chrono::steady_clock::now();
    Graph graph;
    graph.reserveNode(circles);
    graph.reserveArc(obligations);
    for (int i = 0; i < circles; i++) graph.addNode();
    Graph::ArcMap<long long> most(graph), cost(graph);
    for (const Obligation& o : all) {
      Graph::Arc arc = graph.addArc(graph.nodeFromId(o.from), graph.nodeFromId(o.to));
      most[arc] = o.minutes;
      cost[arc] = -1;
    }
    using Solver = lemon::CostScaling<Graph, long long>;
    Solver solver(graph);
    solver.upperMap(most).costMap(cost);
    if (solver.run() != Solver::OPTIMAL) return 1;
    long long gone = 0;
    for (Graph::ArcIt arc(graph); arc != lemon::INVALID; ++arc) gone += solver.flow(arc);
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    if (run == 0) std::printf("%lld", gone);
    std::printf(" %.3f", took.count());
  }
  std::printf("\n");
}
