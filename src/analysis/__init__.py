"""From records to answers: reads run folders with pandas, never torch."""
